"""The routes of the pages below a prefix. The first request of an app imports this module, with the pages of all features."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from ..kernel.feature import Pages, parts
from .addresses import address_routes
from .dashboard import router
from .dashboard.flash import local_path
from .dashboard.page_route import PageRoute
from .problems import Problem


@cache
def route_table(prefix: str, *, signs_in: bool) -> APIRouter:
    """Return the routes below a prefix, with or without a login page.

    FastAPI builds the routes at the first request, which takes longer than ten responses. The apps of a process share the routes; the
    routes read per-app values from the app's ``state``.
    """
    table = APIRouter()
    table.routes += address_routes(prefix)
    left_out = () if signs_in else [f.load(part) for f, part in parts(Pages) if part.sign_in]
    for pages in router.ROUTERS:
        if pages not in left_out:
            table.include_router(pages, prefix=prefix)
    table.include_router(_elsewhere, prefix=prefix)
    return table


_elsewhere = APIRouter(route_class=PageRoute, include_in_schema=False)


@_elsewhere.get("/{path:path}")  # noqa: FAST003 - whatever it is
async def no_such_page(request: Request) -> Response:
    """A page for addresses that are none; one with a slash at its end leads to the one without."""
    path, query = request.url.path, request.url.query
    if path.endswith("/"):
        shorter = local_path(request, path.rstrip("/"))
        return RedirectResponse(f"{shorter}?{query}" if query else shorter, 307)
    raise Problem(404, "No such page", "There is no page at this address.")
