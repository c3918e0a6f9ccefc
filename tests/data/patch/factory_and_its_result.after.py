from fastapi import FastAPI

from acme.scheduler.app import scheduler_router


def create_app() -> FastAPI:
    application: FastAPI = FastAPI()
    application.include_router(scheduler_router)

    return application


app = create_app()
