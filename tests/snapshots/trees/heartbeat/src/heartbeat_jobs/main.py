"""The web app with the scheduler: jobs, dashboard, REST API and health checks.

Add your own routes here. ``targcc serve`` runs the app, as does any ASGI server.
"""

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from .scheduler import Settings, root_addresses, scheduler_router

# FastAPI's documentation pages stay off: they are public and load scripts from other hosts. The scheduler's API is described at /api/docs.
app = FastAPI(title="heartbeat-jobs", docs_url=None, redoc_url=None, openapi_url=None)
app.include_router(scheduler_router)
app.include_router(root_addresses)  # add /api, /health and /metrics at the root


@app.get("/", include_in_schema=False)
async def home() -> RedirectResponse:
    """Redirect to the dashboard; put your own page here."""
    return RedirectResponse(Settings().dashboard_path)
