"""The web app; the last line brings in the scheduler: its jobs, dashboard, REST API and health checks.

Routes of your own go here too. ``targcc serve`` runs this app, and so does any ASGI server.
"""

from fastapi import FastAPI

from .scheduler.app import scheduler_router
from .scheduler.project import NAME

app = FastAPI(title=NAME)
app.include_router(scheduler_router)
