"""An app whose imports are slow."""

def create_app():
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/slow")
    async def slow():
        return "at last"

    return app
