from fastapi import FastAPI

from acme.scheduler.app import scheduler_router


class Server:
    app = FastAPI()
    app.include_router(scheduler_router)
