from fastapi import FastAPI

app = FastAPI()
last = 1
