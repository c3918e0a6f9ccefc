from fastapi import FastAPI

app = None


def build():
    global app
    app = FastAPI()
