import os

from fastapi import FastAPI

app = FastAPI()
if os.environ.get("BARE"):
    app = FastAPI(docs_url=None)
