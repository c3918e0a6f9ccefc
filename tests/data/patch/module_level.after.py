"""The shop."""

from fastapi import FastAPI

from acme.scheduler.app import scheduler_router

app = FastAPI(title="Shop")
app.include_router(scheduler_router)


@app.get("/")
def root() -> dict[str, str]:
    return {"hello": "world"}
