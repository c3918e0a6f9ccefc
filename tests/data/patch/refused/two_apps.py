from fastapi import FastAPI

app = FastAPI()
internal = FastAPI()
