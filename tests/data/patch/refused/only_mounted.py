from fastapi import FastAPI
from acme.base import app as outer

app = FastAPI()
outer.mount("/shop", app)
