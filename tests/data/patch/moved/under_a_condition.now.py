from fastapi import FastAPI
from acme.scheduler.app import scheduler_router
app = FastAPI()
if app.debug:
	app.include_router(scheduler_router)
