from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

app = application = FastAPI()  # two names, one app
app.include_router(scheduler_router)
