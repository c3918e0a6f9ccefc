import fastapi.applications

app = fastapi.applications.FastAPI()
