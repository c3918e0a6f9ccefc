import uvicorn
from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

if __name__ == "__main__":
    app = FastAPI()
    app.include_router(scheduler_router)
    uvicorn.run(app)
