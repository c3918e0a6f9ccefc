import fastapi

from acme.scheduler.app import scheduler_router


class Server:
    _app: fastapi.FastAPI

    def __init__(self) -> None:
        self._app = fastapi.FastAPI(title="Shop")  # the only one
        self._app.include_router(scheduler_router)

    @property
    def app(self) -> fastapi.FastAPI:
        return self._app
