import os

from fastapi import FastAPI

if os.environ.get("DOCS"):
    app = FastAPI()
elif os.environ.get("PLAIN"):
    app = FastAPI(docs_url=None, redoc_url=None)
else:
    app = FastAPI(docs_url=None)

app.state.made = True
