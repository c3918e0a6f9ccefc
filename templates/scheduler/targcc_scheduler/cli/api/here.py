"""The REST API in this process, over the project's own database: whoever can read that may do everything."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI, Request

from ...scheduler import Scheduler
from ...security.roles import Principal, Role
from ...web.api.router import PARTS
from ...web.metrics import Metrics
from ...web.state import Web
from ..common import opened, operator
from .client import Api


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
        transport = httpx.ASGITransport(_app(scheduler))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/") as client:
            yield Api(client, scheduler=scheduler)


def _app(scheduler: Scheduler) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.router.routes += [route for part in PARTS for route in part.routes]
    app.state.targcc = Web(scheduler, Metrics(scheduler), (_Terminal(),), prefix="")
    return app
