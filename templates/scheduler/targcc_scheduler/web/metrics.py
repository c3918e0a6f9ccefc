"""Metrics of an app, counted from its start. ``prometheus-client`` is imported at the first scrape."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.extras import from_extra
from ..db.tables import logged_job
from ..scheduler import Scheduler

if TYPE_CHECKING:
    from .metric_families import Families


class Metrics:
    """Collect an app's metrics.

    Args:
        scheduler: The app's scheduler.
    """

    CONTENT_TYPE: ClassVar[str] = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._counted_from = 0
        self._families: Families | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Start the counters: attempts from now on count."""
        self._counted_from = await self._scheduler.read(_newest)

    async def text(self) -> str:
        """Return the metrics in Prometheus' text format.

        Raises:
            ExtraMissing: ``prometheus-client`` is not installed.
        """
        async with self._turn:
            if self._families is None:
                self._families = await self._first()
            return await self._families.text()

    async def _first(self) -> Families:
        with from_extra("run", "the page of metrics"):
            from .metric_families import Families
        families = Families(self._scheduler, self._counted_from)
        await families.start()
        return families


async def _newest(connection: AsyncConnection) -> int:
    return await connection.scalar(sa.select(sa.func.max(logged_job.c.ID))) or 0
