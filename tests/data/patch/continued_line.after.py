from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

app = \
    FastAPI(
        title="a"
        ) # odd, but legal
app.include_router(scheduler_router)
