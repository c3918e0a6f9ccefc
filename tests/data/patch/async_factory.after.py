from fastapi import FastAPI

from acme.scheduler.app import scheduler_router


async def create_app():
    async with lock:
        app = FastAPI()
        app.include_router(scheduler_router)
        await connect(app)
        return app
