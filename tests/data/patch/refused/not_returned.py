from fastapi import FastAPI


def main() -> None:
    app = FastAPI()
    print(app.title)
