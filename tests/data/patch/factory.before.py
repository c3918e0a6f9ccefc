from fastapi import FastAPI

from acme.routers import users


def create_app(debug: bool = False) -> FastAPI:
    """Make the app."""
    app = FastAPI(debug=debug)
    app.include_router(users.router)
    return app
