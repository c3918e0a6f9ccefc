from fastapi import FastAPI

from acme.scheduler.app import scheduler_router


def create_app(debug: bool = False) -> FastAPI:
    if debug:
        targcc_app = FastAPI(debug=True)
        targcc_app.include_router(scheduler_router)
        return targcc_app
    targcc_app = FastAPI()
    targcc_app.include_router(scheduler_router)
    return targcc_app
