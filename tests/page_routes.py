"""Pages of the dashboard by its router; each page is tested in a browser, and the manual has pictures of some pages."""

import re
from pathlib import Path

from fastapi.routing import APIRoute
from targcc_scheduler.web.dashboard.router import ROUTERS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURES = DOCS / "pictures"
NO_PAGES = {
    "/audit/export",
    "/batches/{batch_id}/live",
    "/flows/{flow_id}/live",
    "/help",
    "/help/{name}",
    "/login/oidc",
    "/palette",
    "/login/oidc/answer",
    "/login/oidc/leave",
    "/runs/{run_id}/files/{file_id}",
    "/runs/{run_id}/lines",
    "/runs/{run_id}/live",
    "/runs/{run_id}/log.txt",
    "/static/{name}",
}
"""Routes with other responses: files, redirects, streams, the guides."""


def page_paths() -> list[str]:
    """Return the path of each route that shows a page."""
    routes = [route for router in ROUTERS for route in router.routes]
    paths = [
        page_route.path
        for page_route in routes
        if isinstance(page_route, APIRoute) and "GET" in page_route.methods
    ]
    return [*(path for path in paths if path not in NO_PAGES), "/api/docs"]


def picture_of(path: str) -> str:
    """Return the name of a page's picture: ``jobs-name`` for ``/jobs/{name}``."""
    return re.sub(r"[^\w]+", "-", path).strip("-") or "overview"


def shown_pictures() -> set[str]:
    """Return the names of the pictures that the manual's dashboard page shows."""
    text = (DOCS / "dashboard.md").read_text(encoding="utf-8")
    return set(re.findall(r"\(pictures/([\w-]+)\.png\)", text))
