import logging

from fastapi import FastAPI

log = logging.getLogger(__name__)

app = FastAPI(
    title="Shop",  # shown in /docs
    version="1.0",
)
app.state.ready = True
