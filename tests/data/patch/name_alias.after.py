from fastapi import APIRouter, FastAPI as F

from acme.scheduler.app import scheduler_router

router = APIRouter()
app = F()
app.include_router(scheduler_router)
app.include_router(router)
