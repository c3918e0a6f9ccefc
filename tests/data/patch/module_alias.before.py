import fastapi as fa

service = fa.FastAPI()
