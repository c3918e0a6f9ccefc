from fastapi import APIRouter, FastAPI as F

router = APIRouter()
app = F()
app.include_router(router)
