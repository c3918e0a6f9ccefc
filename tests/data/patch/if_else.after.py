import os

from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

if os.environ.get("DOCS"):
    app = FastAPI()
    app.include_router(scheduler_router)
elif os.environ.get("PLAIN"):
    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(scheduler_router)
else:
    app = FastAPI(docs_url=None)
    app.include_router(scheduler_router)

app.state.made = True
