"""A loop that goes on while there is somebody to tell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import QueryTimeout
from ...core.outage import OUTAGES, Outage
from ...core.scope.visibility import everything_visible

log = logging.getLogger("targcc.web.live.rounds")

Read = Callable[[Callable[[AsyncConnection], Awaitable[Any]]], Awaitable[Any]]
"""Answers a query from the scheduler's database."""


class Rounds:
    """Looks again and again, through outages of the database too. For one event loop.

    Args:
        what: What it does, for the log.
        once: One look; returns the seconds until the next.
        wanted: Whether there is somebody to tell.
    """

    def __init__(
        self, what: str, once: Callable[[], Awaitable[float]], wanted: Callable[[], bool]
    ) -> None:
        self._once = once
        self._wanted = wanted
        self._outage = Outage(log, what)
        self._going: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Somebody has come."""
        if self._going is None or self._going.done():
            with everything_visible():  # they are for everybody, not for whoever came first
                self._going = asyncio.create_task(self._go(), name="targcc live")

    async def _go(self) -> None:
        while self._wanted():
            try:
                wait = await self._once()
                self._outage.over()
            except (*OUTAGES, QueryTimeout) as error:
                wait = self._outage.failed(error).total_seconds()
            await asyncio.sleep(wait)
