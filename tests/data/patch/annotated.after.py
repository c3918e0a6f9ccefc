from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

app: FastAPI = FastAPI()
app.include_router(scheduler_router)
