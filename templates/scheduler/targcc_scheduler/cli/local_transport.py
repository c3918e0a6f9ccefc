"""REST API in this process; imports only the part that a command needs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI, Request
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from ..core.identity import Principal, Role
from ..scheduler import Scheduler
from ..web.addresses import imported, routers
from ..web.metrics import Metrics
from ..web.state import Web
from .common import opened, operator
from .transport import Api

# REST API in this process, over the project's database. A user with access to the database gets the role admin.


class _Terminal:
    """Identity provider that returns the terminal's user as admin."""

    async def authenticate(self, _request: Request) -> Principal:
        """Return the terminal's user as admin; see :class:`IdentityProvider`."""
        by = operator()
        return Principal(name=by.name or "unknown", role=Role.ADMIN, caller=by)


@contextlib.asynccontextmanager
async def in_this_process(*, work_on: str | None = None) -> AsyncIterator[Api]:
    """Open a scheduler and its API for a command. ``work_on`` is a queue that the scheduler runs jobs from meanwhile."""
    async with opened(work_on=work_on) as scheduler:
        transport = httpx.ASGITransport(_Parts(scheduler))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/") as client:
            yield Api(client, scheduler=scheduler)


class _Parts:
    """ASGI app of the API that imports only the part for a request: importing every part would double a command's duration."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._app = FastAPI(openapi_url=None)
        self._app.state.targcc = Web(scheduler, Metrics(scheduler), (_Terminal(),), prefix="")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        self._app.router.routes[:] = _routes(scope)
        await self._app(scope, receive, send)


def _routes(scope: Scope) -> list[BaseRoute]:
    """Return the routes of the first part that matches a request; empty if no part does."""
    for router in routers(scope["path"]):
        routes = imported(router).routes
        if any(route.matches(scope)[0] is Match.FULL for route in routes):
            return routes
    return []
