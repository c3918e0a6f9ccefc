"""An app in one block."""
from acme.scheduler.app import scheduler_router
with open("title.txt") as file:
    import fastapi
    app = fastapi.FastAPI(title=file.read())
    app.include_router(scheduler_router)
