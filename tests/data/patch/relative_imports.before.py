from fastapi import FastAPI

from .db import connect
from .routers import users

app = FastAPI(lifespan=connect)
app.include_router(users.router)
