from fastapi import FastAPI

from acme.scheduler.app import scheduler_router


class Service(FastAPI):
    """Our own defaults."""


class Shop(Service): ...


app = Shop(title="Shop")
app.include_router(scheduler_router)
