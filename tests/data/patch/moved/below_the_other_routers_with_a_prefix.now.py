from acme.scheduler.app import scheduler_router
from fastapi import FastAPI
app = FastAPI()
app.include_router(users)
app.include_router(scheduler_router, prefix='/ops')  # jobs
