import logging

from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

log = logging.getLogger(__name__)

app = FastAPI(
    title="Shop",  # shown in /docs
    version="1.0",
)
app.include_router(scheduler_router)
app.state.ready = True
