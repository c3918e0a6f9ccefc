from fastapi import FastAPI

from acme.scheduler.app import scheduler_router


def create_app() -> FastAPI:
    targcc_app = FastAPI(
        title="Shop",
    )
    targcc_app.include_router(scheduler_router)
    return targcc_app
