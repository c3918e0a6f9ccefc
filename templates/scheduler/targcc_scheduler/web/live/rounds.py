"""A loop that goes on while there is somebody to tell."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import QueryTimeout
from ...core.outage import OUTAGES, Outage
from ...core.scope.visibility import everything_visible

log = logging.getLogger("targcc.web.live.rounds")

W = TypeVar("W")
"""Somebody who is told."""
Read = Callable[[Callable[[AsyncConnection], Awaitable[Any]]], Awaitable[Any]]
"""Answers a query from the scheduler's database."""
_AFTER_FAULT_SECONDS = 5.0


class Rounds(Generic[W]):
    """Looks again and again while there is somebody to tell, through outages of the database and faults too. For one event loop.

    Args:
        what: What it does, for the log.
        once: One look; returns the seconds until the next.
    """

    def __init__(self, what: str, once: Callable[[], Awaitable[float]]) -> None:
        self.listeners: set[W] = set()
        """Who is told."""
        self._what = what
        self._once = once
        self._outage = Outage(log, what)
        self._going: asyncio.Task[None] | None = None
        self._come = asyncio.Event()

    @contextlib.contextmanager
    def join(self, listener: W) -> Iterator[W]:
        """Tell somebody for as long as the context lasts, who waits for no round of others."""
        self.listeners.add(listener)
        self._begin()
        try:
            yield listener
        finally:
            self.listeners.discard(listener)

    def _begin(self) -> None:
        self._come.set()
        if self._going is None or self._going.done():
            with everything_visible():  # they are for everybody, not for whoever came first
                self._going = asyncio.create_task(self._go(), name="targcc live")

    async def _go(self) -> None:
        while self.listeners:
            self._come.clear()
            try:
                wait = await self._once()
                self._outage.over()
            except (*OUTAGES, QueryTimeout) as error:
                wait = self._outage.failed(error).total_seconds()
            except Exception:
                log.exception("%s failed, which is a fault; it goes on", self._what)
                await asyncio.sleep(_AFTER_FAULT_SECONDS)  # also for whoever comes meanwhile
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._come.wait(), wait)
