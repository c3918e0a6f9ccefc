from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from acme.scheduler.app import scheduler_router

app = FastAPI()
app.include_router(scheduler_router)
app = GZipMiddleware(app)
