from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from app.api import users


def custom_generate_unique_id(route: APIRoute) -> str:
    return f"{route.tags[0]}-{route.name}"


app = FastAPI(
    title="Full stack",
    openapi_url="/api/v1/openapi.json",
    generate_unique_id_function=custom_generate_unique_id,
)
app.add_middleware(CORSMiddleware, allow_origins=["http://localhost:5173"], allow_credentials=True)

api_router = APIRouter()
api_router.include_router(users.router)
app.include_router(api_router, prefix="/api/v1")
