import warnings

from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    app = FastAPI()
    app.include_router(scheduler_router)
