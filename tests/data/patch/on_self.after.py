from fastapi import FastAPI

from acme.scheduler.app import scheduler_router


class Server:
    def __init__(self) -> None:
        self.app = FastAPI()
        self.app.include_router(scheduler_router)
