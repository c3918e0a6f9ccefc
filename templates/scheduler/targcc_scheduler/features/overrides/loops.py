"""Poll for changed overrides, apply overrides to the jobs of a process, and end expired overrides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import SYSTEM
from ...core.clock import Clock, uptime
from ...core.outage import OUTAGES, Outage
from ...db.transactions import Store
from ...kernel.audit import audit
from ...kernel.jobs.definition import JobDefinition
from ...kernel.jobs.overrides import Override
from ...kernel.jobs.registry import JobRegistry
from ...kernel.node import slots
from ...kernel.node.releases import schedule_of
from ...kernel.poller import poller_of
from ...project import current
from . import rows
from .effective import effective

log = logging.getLogger("targcc.overrides.loops")

LOOK_SECONDS = 1.5
"""Poll interval in seconds."""


class OverrideWatch:
    """Applies overrides to the jobs of a process. For use on the scheduler's event loop.

    Args:
        registry: The jobs.
        clock: Current time, for expired overrides.
    """

    def __init__(self, registry: JobRegistry, clock: Clock) -> None:
        self.changed: Callable[[], None] = lambda: None
        """Callback after a job's definition has changed."""
        self._registry = registry
        self._clock = clock
        self._seen: tuple[Override, ...] = ()
        self._looked = float("-inf")
        self._outage = Outage(log, "looking what people have changed of jobs")

    async def run(self, store: Store, *, ends: Callable[[], bool]) -> None:
        """Poll every 1.5 seconds, until cancelled.

        Args:
            store: The database.
            ends: Returns whether this process removes expired overrides; true on nodes.
        """
        within, mark = 0.0, object()
        while True:
            try:
                seen = await poller_of(store).next(within)
                if seen.marks["overrides"] != mark or any(map(self._is_over, self._seen)):
                    await self.look(store, ends=ends())
                    mark = seen.marks["overrides"]
                self._looked = uptime()
                self._outage.over()
            except OUTAGES as error:
                self._outage.failed(error)
            within = LOOK_SECONDS

    async def look_again(self, store: Store) -> None:
        """Poll if the last poll is older than the interval, in a process without :meth:`run`.

        Database errors are ignored, because an older schema has no table for overrides.
        """
        if uptime() - self._looked < LOOK_SECONDS:
            return
        try:
            await self.look(store, ends=False)
        except (sa.exc.OperationalError, sa.exc.ProgrammingError) as error:
            log.debug("overrides cannot be read: %s", error)

    async def look(self, store: Store, *, ends: bool) -> None:
        """Load overrides and apply the overrides to the jobs. With ``ends``, remove expired overrides first."""
        self._looked = uptime()
        async with store.read() as connection:
            overrides = await rows.load(connection)
        if ends and any(self._is_over(override) for override in overrides):
            overrides = await self._end(store)
        self._seen = overrides
        holding = [override for override in overrides if ends or not self._is_over(override)]
        if self._registry.override(holding, effective):
            self.changed()

    async def is_up_to_date(self, connection: AsyncConnection) -> bool:
        """Return whether the overrides are unchanged since the last poll."""
        return await rows.load(connection) == self._seen

    def _is_over(self, override: Override) -> bool:
        return override.until is not None and override.until <= self._clock.now()

    async def _end(self, store: Store) -> tuple[Override, ...]:
        """Remove expired overrides and return the remaining overrides.

        The code's schedule applies from the end of the override on, not from now.
        """
        definitions = self._registry.definitions
        async with store.write() as connection:
            ended = await rows.remove_ended(connection, self._clock.now())
            left = await rows.load(connection)
            for override in ended:
                detail, now = (
                    f"{override.field} was {override.shown}, by {override.by}",
                    self._clock.now(),
                )
                await audit(
                    connection, SYSTEM, "override ended", now, job_name=override.job, detail=detail
                )
            for name in dict.fromkeys(override.job for override in ended):
                if (held := definitions.get(name)) is not None:
                    still = [override for override in left if override.job == name]
                    job = effective(held.coded, still, current())
                    await _go_back(connection, held, job, ended)
        for override in ended:
            log.info("%s: the override of %s has ended", override.job, override.field)
        return left


async def _go_back(
    connection: AsyncConnection,
    definition: JobDefinition,
    job: JobDefinition,
    ended: Sequence[Override],
) -> None:
    """Restart a job's slots by the current schedule, from the end of the expired override on."""
    text = schedule_of(job)
    row = (await slots.load(connection, [job.name])).get(job.name)
    if text == schedule_of(definition) or row is None or row.last_slot is None:
        return
    if row.text == schedule_of(definition):
        end = max(
            override.until
            for override in ended
            if override.job == job.name and override.until is not None
        )
        await slots.restart(connection, job.name, text, max(row.last_slot, end), row.release or "")
