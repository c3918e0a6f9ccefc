"""The REST API in this process: import only the part that a command needs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from importlib import import_module

import httpx
from fastapi import FastAPI, Request
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from ..features.accounts.roles import Principal, Role
from ..scheduler import Scheduler
from ..web.metrics import Metrics
from ..web.state import Web
from .common import opened, operator
from .transport import Api

# Which module of the API has which addresses, so that a command imports no more than one.

_PARTS = {
    "jobs": (
        "web.api.jobs",
        "features.overrides.api",
        "features.legacy.api",
        "features.triage.api",
        "features.timeline.api",
        "web.api.files",
    ),
    "history": ("web.api.jobs",),
    "chains": ("web.api.jobs",),
    "overrides": ("features.overrides.api",),
    "owners": ("features.legacy.api",),
    "runs": (
        "web.api.runs",
        "web.api.files",
        "features.triage.api",
        "web.api.events",
    ),
    "events": ("web.api.events",),
    "calendar": ("features.timeline.api",),
    "timeline": ("features.timeline.api",),
    "heatmap": ("features.timeline.api",),
    "flows": (
        "features.flows.api",
        "web.api.events",
    ),
    "batches": (
        "features.batches.api",
        "web.api.events",
    ),
    "limits": ("web.api.limits",),
    "calendars": ("features.calendars.api",),
    "maintenance": ("features.calendars.api",),
    "webhooks": ("features.events.api",),
    "inbox": ("features.triage.api",),
    "seen": ("features.triage.api",),
    "bulk": ("features.triage.api",),
    "audit": ("features.audit.api",),
    "sessions": ("features.accounts.api",),
    "tokens": ("features.accounts.api",),
    "users": ("features.accounts.api",),
    "views": ("features.accounts.api",),
}


def part_names(path: str) -> tuple[str, ...]:
    """The modules that may have a path such as ``/api/jobs/DailyReport/why``, the likeliest first."""
    return _PARTS.get(path.removeprefix("/api/").partition("/")[0], ("web.api.system",))


# The REST API in this process, over the project's own database: whoever can read that may do everything.


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
        routes: list[BaseRoute] = import_module(f"..{name}", __package__).router.routes
        if any(route.matches(scope)[0] is Match.FULL for route in routes):
            return routes
    return []
