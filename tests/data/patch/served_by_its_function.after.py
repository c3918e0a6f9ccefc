import uvicorn
from fastapi import FastAPI

from acme.scheduler.app import scheduler_router


def main() -> None:
    app = FastAPI()
    app.include_router(scheduler_router)
    uvicorn.run(app)
