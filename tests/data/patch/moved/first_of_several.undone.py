from acme.scheduler.app import create_app
app = FastAPI()
x = 1
