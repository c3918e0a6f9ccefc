from fastapi import *

from acme.scheduler.app import scheduler_router

app = FastAPI()
app.include_router(scheduler_router)
