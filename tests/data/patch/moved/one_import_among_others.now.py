from fastapi import FastAPI
from acme.scheduler.app import (
    create_app,  # theirs
    scheduler_router,
)
app = FastAPI(); app.include_router(scheduler_router)
