"""What programs ask, below a prefix and at the root of an app that is nothing but jobs: ``/api``, ``/health`` and ``/metrics``."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import APIRouter
from starlette.routing import BaseRoute, Route

from .addresses import PATHS


def address_routes(prefix: str = "") -> list[BaseRoute]:
    """One route for each address; what answers there is imported with the first request."""
    answers = _Answers(prefix)
    return [Route(f"{prefix}{path}", answers, include_in_schema=False) for path in PATHS]


class _Answers:
    """An ASGI app that answers each of the addresses within the app that has the route."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await answering(self._prefix)(scope, receive, send)


@cache
def answering(prefix: str) -> APIRouter:
    """The routes of the addresses, with a prefix before them; FastAPI works them out at the first request, and once."""
    router = APIRouter()
    for part in parts():
        router.include_router(part, prefix=prefix, include_in_schema=False)
    return router


def parts() -> tuple[APIRouter, ...]:
    """The API, its description, the health checks and the metrics; importing them takes a third of a second."""
    from .. import health, openapi
    from ..api import router as api

    return (*api.PARTS, *openapi.PARTS, health.router)
