import fastapi.applications

from acme.scheduler.app import scheduler_router

app = fastapi.applications.FastAPI()
app.include_router(scheduler_router)
