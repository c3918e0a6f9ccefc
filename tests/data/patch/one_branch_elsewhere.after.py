import os

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from acme.scheduler.app import scheduler_router

if os.environ.get("DEBUG"):
    from acme.debug import app
elif os.environ.get("BARE"):
    app = FastAPI(docs_url=None)
else:
    app = FastAPI()
app.include_router(scheduler_router)

app.mount("/", StaticFiles(directory="public"))
