import fastapi


class Server:
    _app: fastapi.FastAPI

    def __init__(self) -> None:
        self._app = fastapi.FastAPI(title="Shop")  # the only one

    @property
    def app(self) -> fastapi.FastAPI:
        return self._app
