from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

seen: list[str] = []


@asynccontextmanager
async def lifespan(_: FastAPI):
    seen.append("start")
    yield
    seen.append("stop")


app = FastAPI(root_path="/shop", lifespan=lifespan)


@app.exception_handler(404)
async def not_found(request: Request, _: Exception) -> JSONResponse:
    return JSONResponse({"nothing at": request.url.path}, status_code=404)


@app.middleware("http")
async def named(request: Request, call_next):
    answer = await call_next(request)
    answer.headers["X-Shop"] = request.scope["root_path"]
    return answer


@app.get("/metrics")
def metrics() -> str:
    return "mine"


@app.get("/health")
def health() -> dict[str, str]:
    return {"shop": "open"}
