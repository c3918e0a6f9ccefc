import fastapi as fa

from acme.scheduler.app import scheduler_router

service = fa.FastAPI()
service.include_router(scheduler_router)
