"""What programs ask, at the root of an app that is nothing but jobs: ``/api``, ``/health`` and ``/metrics``."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import APIRouter
from starlette.routing import BaseRoute, Route

from .. import health, openapi
from ..api import router as api

_PARTS = (*api.PARTS, *openapi.PARTS, health.router)


def add_addresses(router: APIRouter, prefix: str = "") -> None:
    """Include what programs ask: the API, its description, the health checks and the metrics."""
    for part in _PARTS:
        router.include_router(part, prefix=prefix, include_in_schema=False)


def root_routes() -> list[BaseRoute]:
    """One route for each address. FastAPI's own would be made a second time, at once and for good; few apps are asked at the root."""
    paths = dict.fromkeys(route.path for part in _PARTS for route in part.routes)
    return [Route(path, _Answers(), include_in_schema=False) for path in paths]


class _Answers:
    """An ASGI app that answers each of the addresses within the app that has the route."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await _router()(scope, receive, send)


@cache
def _router() -> APIRouter:
    router = APIRouter()
    add_addresses(router)
    return router
