"""Loops of a node: bulk operations, the check for late slots, queues and runs, and pings of outside monitors."""

from __future__ import annotations

import asyncio
import logging
import time

from ...core.errors import SecretError
from ...core.outage import OUTAGES
from ...core.secrets import resolve
from ...core.states import RunState
from ...kernel import error_groups
from ...kernel.alert_events import AlertEvent
from ...kernel.node.loops import Every, NodeContext, WhenSeen
from ...kernel.runs.values import Settlement
from . import bulk, sla

log = logging.getLogger("targcc.triage.loops")

# Bulk operations.

_BULK_SECONDS = 2.0
_LONGEST_STEP = 0.2


class BulkOperations(WhenSeen):
    """Works on bulk operations.

    Args:
        context: The node.
    """

    def __init__(self, context: NodeContext) -> None:
        super().__init__(
            context,
            "working on many runs",
            lambda seen: bool(seen.marks["bulk"]),
            self.bulk_once,
            _BULK_SECONDS,
        )

    async def bulk_once(self) -> None:
        """Work on all open bulk operations until they are done."""
        from . import bulk_steps  # imported late: the run search takes memory

        context, services, outage = self._context, self._context.services, None
        async with services.store.read() as connection:
            going_on = await bulk.running(connection)
        for bulk_id in going_on:
            more = True
            while more and not context.ending.is_set():
                started = time.monotonic()
                try:
                    async with services.store.write() as connection:
                        work = bulk_steps.Work(
                            connection, services.engine, services.clock.now(), context.definitions
                        )
                        more = await bulk_steps.step(work, bulk_id)
                except OUTAGES as error:
                    outage, more = error, False  # the next operation goes on
                services.engine.wake()
                await asyncio.sleep(min(time.monotonic() - started, _LONGEST_STEP) / 2)
        if outage is not None:
            raise outage


# Pings: addresses of outside monitors, which raise an alarm when no ping arrives.

_MOST_PINGS = 1_000
_PING_TIMEOUT_SECONDS = 10


class Pings:
    """Fetches ping addresses in turn.

    Args:
        context: The node.
    """

    def __init__(self, context: NodeContext) -> None:
        self._definitions = context.definitions
        self._ending = context.ending
        self._addresses: asyncio.Queue[str] = asyncio.Queue(maxsize=_MOST_PINGS)
        self._refused: set[str] = set()
        context.settled.append(self.settled)

    def settled(self, settlement: Settlement) -> None:
        """Queue the ping of a job whose run has succeeded, if the job has a ``ping``."""
        if settlement.state is not RunState.SUCCEEDED:
            return
        definition = self._definitions.get(settlement.claim.job_name)
        if definition is not None and definition.expectations.ping:
            self.put(definition.expectations.ping)

    def put(self, address: str) -> None:
        """Queue a ping."""
        if self._addresses.full():
            log.warning("too many pings wait: one is dropped")
        else:
            self._addresses.put_nowait(address)

    async def run(self) -> None:
        """Fetch the queued addresses, until :meth:`end`."""
        while not self._ending.is_set():
            address = await self._addresses.get()
            if self._ending.is_set():
                return
            try:
                await _fetch(resolve(address))
                self._refused.discard(address)
            except Exception as error:  # noqa: BLE001 - the monitor notices the missing ping
                if address not in self._refused:
                    self._refused.add(address)
                    log.warning("a ping did not arrive: %s", _reason(error))

    def end(self) -> None:
        """Let :meth:`run` return after the current ping."""
        if self._addresses.empty():
            self._addresses.put_nowait("")  # wakes run()


async def _fetch(url: str) -> None:
    import httpx

    from ...core.http_post import hide_address

    async with httpx.AsyncClient(
        timeout=_PING_TIMEOUT_SECONDS,
        follow_redirects=True,
        event_hooks={"request": [hide_address]},
    ) as client:
        answer = await client.get(url)
    answer.raise_for_status()


def _reason(error: Exception) -> str:
    """Return why a ping failed, without the address: an address is a secret."""
    if isinstance(error, SecretError):
        return str(error)
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"the answer was {status}" if status is not None else type(error).__name__


# Late slots, queues and runs.

_LATE_SECONDS = 15.0
EXPECTED = ("must_finish_by", "must_start_within", "at_least")
"""Kinds of :class:`~.sla.Late` that raise an alert."""


class LateCheck(Every):
    """Checks for late slots, queues and runs.

    Args:
        context: The node; its hook ``issues`` is called after each check.
    """

    def __init__(self, context: NodeContext) -> None:
        super().__init__(context, "looking for what is late", self.look_once, _LATE_SECONDS)
        self._pings = context.shared(Pings)
        self._pinged = float("-inf")

    async def look_once(self) -> None:
        """Check for late slots, queues and runs; record issues, alert about new issues, and ping."""
        context = self._context
        services, now = context.services, context.services.clock.now()
        jobs = list(context.definitions.values())
        async with services.store.read() as connection:
            late = await sla.late(connection, jobs, now)
            noted = await error_groups.noted(connection)
            lacking = await error_groups.lacking(connection)
        broken = {(issue.subject, issue.kind): issue for issue in late if issue.kind in EXPECTED}
        right = {key for key in noted - broken.keys() if key[1] in EXPECTED}
        watched = {(job.name, error_groups.WATCHED) for job in jobs if job.expectations.successes}
        new: list[sla.Late] = []
        if lacking or right or not noted.issuperset(broken.keys() | watched):
            async with services.store.write() as connection:
                for (subject, kind), issue in broken.items():
                    if await error_groups.note_issue(connection, subject, kind, issue.detail, now):
                        new.append(issue)
                for key in right:
                    await error_groups.remove(connection, *key)
                for subject, kind in watched - noted:
                    await error_groups.note_issue(connection, subject, kind, "", now)
                await error_groups.give_causes(connection, now)
        for issue in new:
            job = context.definitions[issue.subject]
            services.notify(AlertEvent("late", job, None, issue.detail, about=issue.kind))
        self._ping_if_well(late)
        for listener in context.issues:
            listener(noted - right | broken.keys(), now)

    def _ping_if_well(self, late: list[sla.Late]) -> None:
        """Send a ping if the scheduler works: the database answers, and no slot is late."""
        settings = self._context.services.settings
        slots_come = not any(item.kind == "slot" for item in late)
        due = time.monotonic() - self._pinged >= settings.ping_seconds
        if settings.ping_url and self._context.schedules and slots_come and due:
            self._pinged = time.monotonic()
            self._pings.put(settings.ping_url)


def pings(context: NodeContext) -> Pings:
    """Return the loop that fetches ping addresses."""
    return context.shared(Pings)
