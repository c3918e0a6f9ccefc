import uvicorn
from fastapi import FastAPI


def main() -> None:
    app = FastAPI()
    uvicorn.run(app)
