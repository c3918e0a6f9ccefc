from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

admin = FastAPI(title="Admin")

app = FastAPI(title="Shop")
app.include_router(scheduler_router)
app.mount("/admin", admin)
