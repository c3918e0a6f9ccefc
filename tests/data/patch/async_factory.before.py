from fastapi import FastAPI


async def create_app():
    async with lock:
        app = FastAPI()
        await connect(app)
        return app
