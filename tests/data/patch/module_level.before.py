"""The shop."""

from fastapi import FastAPI

app = FastAPI(title="Shop")


@app.get("/")
def root() -> dict[str, str]:
    return {"hello": "world"}
