from fastapi import FastAPI


def create_app(debug: bool = False) -> FastAPI:
    if debug:
        return FastAPI(debug=True)
    return FastAPI()
