from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

app = FastAPI()
app.include_router(scheduler_router)
app = FastAPI(title="again")
app.include_router(scheduler_router)
