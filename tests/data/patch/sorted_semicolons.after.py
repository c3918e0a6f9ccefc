from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

name = "Shop"; app = FastAPI(title=name); other = 1
app.include_router(scheduler_router)
