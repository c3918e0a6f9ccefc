from fastapi import FastAPI
from starlette.routing import Mount

app = FastAPI(routes=[Mount("/", site)])
