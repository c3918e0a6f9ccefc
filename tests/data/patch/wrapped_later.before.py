from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

app = FastAPI()
app = GZipMiddleware(app)
