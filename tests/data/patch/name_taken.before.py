from fastapi import APIRouter, FastAPI

scheduler_router = APIRouter(prefix="/calendar")

app = FastAPI()
app.include_router(scheduler_router)
