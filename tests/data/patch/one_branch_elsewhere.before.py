import os

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

if os.environ.get("DEBUG"):
    from acme.debug import app
elif os.environ.get("BARE"):
    app = FastAPI(docs_url=None)
else:
    app = FastAPI()

app.mount("/", StaticFiles(directory="public"))
