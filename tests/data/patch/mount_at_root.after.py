from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from acme.scheduler.app import scheduler_router

app = FastAPI()
app.include_router(scheduler_router)
app.mount("/", StaticFiles(directory="dist", html=True))
