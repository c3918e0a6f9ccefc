"""The web app."""

from fastapi import FastAPI
from targcc_scheduler import scheduler_router

app = FastAPI(title="web-jobs")
app.include_router(scheduler_router)
