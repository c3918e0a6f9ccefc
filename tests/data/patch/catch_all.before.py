from fastapi import FastAPI

app = FastAPI()


@app.get("/{path:path}")
def page(path: str) -> str:
    return path
