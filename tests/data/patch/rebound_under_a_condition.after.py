import os

from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

app = FastAPI()
app.include_router(scheduler_router)
if os.environ.get("BARE"):
    app = FastAPI(docs_url=None)
    app.include_router(scheduler_router)
