"""The REST API in this process, over the project's own database: whoever can read that may do everything."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from importlib import import_module

import httpx
from fastapi import FastAPI, Request
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from ...scheduler import Scheduler
from ...security.roles import Principal, Role
from ...web.api import __name__ as web_api
from ...web.metrics import Metrics
from ...web.state import Web
from ..common import opened, operator
from .client import Api
from .parts import part_names


class _Terminal:
    """The user of this terminal."""

    async def authenticate(self, _request: Request) -> Principal:
        """See :class:`IdentityProvider`."""
        by = operator()
        return Principal(name=by.name or "unknown", role=Role.ADMIN, caller=by)


@contextlib.asynccontextmanager
async def in_this_process(*, work_on: str | None = None) -> AsyncIterator[Api]:
    """The API of a scheduler that is opened for one command; ``work_on`` is a queue that it takes runs from meanwhile."""
    async with opened(work_on=work_on) as scheduler:
        transport = httpx.ASGITransport(_Parts(scheduler))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/") as client:
            yield Api(client, scheduler=scheduler)


class _Parts:
    """The API, of which only the part is imported that a request is for: all of it takes as long as the rest of a command."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._app = FastAPI(openapi_url=None)
        self._app.state.targcc = Web(scheduler, Metrics(scheduler), (_Terminal(),), prefix="")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI app does."""
        self._app.router.routes[:] = _routes(scope)
        await self._app(scope, receive, send)


def _routes(scope: Scope) -> list[BaseRoute]:
    """The routes of the first part that has one for a request."""
    for name in part_names(scope["path"]):
        routes: list[BaseRoute] = import_module(f"{web_api}.{name}").router.routes
        if any(route.matches(scope)[0] is Match.FULL for route in routes):
            return routes
    return []
