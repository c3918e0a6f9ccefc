from fastapi import FastAPI
from acme.scheduler.app import (
    create_app,  # theirs
)
app = FastAPI()
