from fastapi import FastAPI

from .db import connect
from .routers import users
from .scheduler.app import scheduler_router

app = FastAPI(lifespan=connect)
app.include_router(scheduler_router)
app.include_router(users.router)
