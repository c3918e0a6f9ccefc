"""Any ASGI app with the scheduler in front of it, and two lifespans as one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.datastructures import State

from ..state import SCOPE_KEY
from .guest import Guest
from .prefix import is_below, path_within

log = logging.getLogger("targcc.web.hosts.outer")

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


class Outer:
    """An ASGI app of two: requests at the scheduler's prefix are its own, all others the host's.

    Args:
        app: The host.
        guest: The scheduler.

    Attributes:
        state: What the scheduler shares with its pages, as ``app.state`` of a FastAPI app has it.
        prefix: Where the scheduler answers.
    """

    def __init__(self, app: Any, guest: Guest) -> None:
        self.app = app
        self.state = State()
        self.prefix = guest.prefix
        self._guest = guest

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or live through the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "http" and is_below(path_within(scope), self.prefix):
            mine = dict(scope)
            mine.pop("path_params", None)  # of a mount that this is in
            await self._guest(mine, receive, send)
        else:
            await self.app({**scope, SCOPE_KEY: self._guest.web()}, receive, send)

    async def _live(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        host = _HostLife(self.app, scope)
        said = await host.begin()
        if said["type"] == "lifespan.startup.failed":
            await send(said)
            return
        async with self._guest.lifespan(self):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send(await host.end())


class _HostLife:
    """The lifespan of an app that is run by us; an app without one has nothing to say.

    Args:
        app: The app.
        scope: The scope of the server's lifespan, whose state the app may fill.
    """

    def __init__(self, app: Any, scope: Any) -> None:
        self._orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._app, self._scope = app, scope
        self._living: asyncio.Task[None] | None = None

    async def begin(self) -> dict[str, Any]:
        """Start it; what it says."""
        self._living = asyncio.create_task(self._live())
        return await self._ask("startup")

    async def end(self) -> dict[str, Any]:
        """End it; what it says."""
        said = await self._ask("shutdown")
        assert self._living is not None
        await self._living
        return said

    async def _ask(self, what: str) -> dict[str, Any]:
        """Send an order and wait for the answer; an app that has returned, or does not know lifespans, is content with everything."""
        assert self._living is not None
        self._orders.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait({answer, self._living}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return {"type": f"lifespan.{what}.complete"}

    async def _live(self) -> None:
        try:
            await self._app(self._scope, self._orders.get, self._answers.put)
        except Exception as error:  # noqa: BLE001 - to servers, too, such an app has no lifespan
            log.info("the app has no lifespan: %s", error)


def both_lifespans(first: Lifespan, second: Lifespan) -> Lifespan:
    """Two lifespans as one; the second ends first."""

    @contextlib.asynccontextmanager
    async def both(app: Any) -> AsyncIterator[Any]:
        async with first(app) as state, second(app):
            yield state

    return both
