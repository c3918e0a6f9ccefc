"""The web app; one line brings in the scheduler: its jobs, dashboard, REST API and health checks.

Routes of your own go here too. ``targcc serve`` runs this app, and so does any ASGI server.
"""

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from .scheduler import Settings, root_addresses, scheduler_router

# FastAPI's own pages are open to everybody and load scripts from elsewhere; the API is described at /api/docs.
app = FastAPI(title="heartbeat-jobs", docs_url=None, redoc_url=None, openapi_url=None)
app.include_router(scheduler_router)
app.include_router(root_addresses)  # also /api, /health and /metrics at the root


@app.get("/", include_in_schema=False)
async def home() -> RedirectResponse:
    """Lead to the dashboard; put your own page here."""
    return RedirectResponse(Settings().dashboard_path)
