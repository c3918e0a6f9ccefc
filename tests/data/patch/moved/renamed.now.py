from fastapi import FastAPI
from .scheduler.app import scheduler_router as jobs
app = FastAPI()
app.include_router(router=jobs)
