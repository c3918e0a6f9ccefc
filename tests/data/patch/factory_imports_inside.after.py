"""An app whose imports are slow."""
from acme.scheduler.app import scheduler_router

def create_app():
    from fastapi import FastAPI

    app = FastAPI()
    app.include_router(scheduler_router)

    @app.get("/slow")
    async def slow():
        return "at last"

    return app
