from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

app = None


def build():
    global app
    app = FastAPI()
    app.include_router(scheduler_router)
