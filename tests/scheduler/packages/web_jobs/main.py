"""The web app."""

from fastapi import FastAPI
from targcc_scheduler import root_addresses, scheduler_router

app = FastAPI(title="web-jobs")
app.include_router(scheduler_router)
app.include_router(root_addresses)
