from fastapi import APIRouter, FastAPI

from acme.scheduler.app import scheduler_router as targcc_scheduler_router

scheduler_router = APIRouter(prefix="/calendar")

app = FastAPI()
app.include_router(targcc_scheduler_router)
app.include_router(scheduler_router)
