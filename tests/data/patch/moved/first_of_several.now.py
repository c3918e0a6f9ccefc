from acme.scheduler.app import scheduler_router, create_app
app = FastAPI()
app.include_router(scheduler_router); x = 1
