"""Maintenance loops of a node: bulk operations, SLA checks, pings, the audit chain, the search index, dependencies and limits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from ...core.errors import SecretError
from ...core.outage import OUTAGES, Outage
from ...core.secrets import resolve
from ...core.states import RunState
from ...features.alerts.loops import AlertWatch
from ...features.alerts.message import AlertEvent
from ...features.events.loops import Deliveries
from ...features.search.loops import TextKeeper
from ...features.triage import bulk, sla
from .. import audit_chain as chain
from .. import error_groups, limits, on_settled, releases
from ..changes import PollResult
from ..engine.submit import hand_on
from ..jobs.definition import JobDefinition
from ..poller import poller_of
from ..runs.values import Settlement
from ..worker import claimer
from ..worker.node_services import NodeServices

log = logging.getLogger("targcc.node.chores.rounds")

_BULK_SECONDS = 2.0
_LATE_SECONDS = 15.0
_TEXT_SECONDS = 3.0
_TIE_SECONDS = 30.0
_LONGEST_STEP = 0.2
_MOST_PINGS = 1_000
_PING_TIMEOUT_SECONDS = 10
EXPECTED = ("must_finish_by", "must_start_within", "at_least")
"""Kinds of :class:`~...features.triage.sla.Late` that raise an alert."""


class Maintenance:
    """Runs the maintenance loops.

    Args:
        services: Database, engine, clock, settings, and the receiver of alerts.
        definitions: The jobs.
        schedule: Whether this node creates the runs of recurring jobs; only such a node sends the ping to ``ping_url``.
        alerts: Follows open alerts; ``None`` sends no alerts.
        release: Return this node's release.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        *,
        schedule: bool,
        alerts: AlertWatch | None = None,
        release: Callable[[], str] = str,
    ) -> None:
        self._release = release
        self._alerts = alerts
        self._services = services
        self._definitions = definitions
        self._schedule = schedule
        self._following = sla.NextSlots()
        self._pings: asyncio.Queue[str] = asyncio.Queue(maxsize=_MOST_PINGS)
        self._pinged = float("-inf")
        self._refused: set[str] = set()
        self._ending = asyncio.Event()
        self.deliveries = Deliveries(services)
        self._texts = TextKeeper(services, self._pause, self.deliveries.wake)

    def end(self) -> None:
        """Let the loops return after their current step; a cancellation in the middle of a step loses the connection."""
        self._ending.set()
        self.deliveries.end()
        if self._alerts is not None:
            self._alerts.end()

    async def _again_and_again(
        self, what: str, once: Callable[[], Awaitable[None]], seconds: float
    ) -> None:
        outage = Outage(log, what)
        while not self._ending.is_set():
            wait = seconds
            try:
                await once()
                outage.over()
            except OUTAGES as error:
                wait = outage.failed(error).total_seconds()
            await self._pause(wait)

    async def _when_seen(
        self,
        what: str,
        there_is_some: Callable[[PollResult], bool],
        once: Callable[[], Awaitable[None]],
        within: float,
    ) -> None:
        """Call ``once`` whenever a poll result shows work, until :meth:`end`."""
        poller, outage, wait = poller_of(self._services.store), Outage(log, what), within
        while not self._ending.is_set():
            try:
                if there_is_some(await poller.next(wait)):
                    await once()
                outage.over()
                wait = within
            except OUTAGES as error:
                wait = outage.failed(error).total_seconds()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    def settled(self, settlement: Settlement) -> None:
        """Queue the ping of a job whose run has succeeded, if the job has a ``ping``."""
        if settlement.state is not RunState.SUCCEEDED:
            return
        definition = self._definitions.get(settlement.claim.job_name)
        if definition is not None and definition.expectations.ping:
            self._put(definition.expectations.ping)

    def _put(self, address: str) -> None:
        if self._pings.full():
            log.warning("too many pings wait: one is dropped")
        else:
            self._pings.put_nowait(address)

    async def work_off(self) -> None:
        """Work on bulk operations, until :meth:`end`."""
        await self._when_seen(
            "working on many runs",
            lambda seen: bool(seen.marks.get("bulk")),
            self.bulk_once,
            _BULK_SECONDS,
        )

    async def bulk_once(self) -> None:
        """Work on all open bulk operations until they are done."""
        from ...features.triage import (
            loops as triage_loops,  # imported late: the run search takes memory
        )

        services, outage = self._services, None
        async with services.store.read() as connection:
            going_on = await bulk.running(connection)
        for bulk_id in going_on:
            more = True
            while more and not self._ending.is_set():
                started = time.monotonic()
                try:
                    async with services.store.write() as connection:
                        work = triage_loops.Work(
                            connection, services.engine, services.clock.now(), self._definitions
                        )
                        more = await triage_loops.step(work, bulk_id)
                except OUTAGES as error:
                    outage, more = error, False  # the next operation goes on
                services.engine.wake()
                await asyncio.sleep(min(time.monotonic() - started, _LONGEST_STEP) / 2)
        if outage is not None:
            raise outage

    async def chain(self) -> None:
        """Chain the rows of the audit, until :meth:`end`.

        A database with one writer chains each row at once; this loop then returns immediately.
        """
        if self._services.store.dialect.many_writers:
            await self._when_seen(
                "chaining the audit",
                lambda seen: bool(seen.marks.get("unsealed")),
                self.chain_once,
                _BULK_SECONDS,
            )

    async def chain_once(self) -> None:
        """Chain all rows of the audit that are not in the chain."""
        more = True
        while more and not self._ending.is_set():
            async with self._services.store.write() as connection:
                more = await connection.run_sync(chain.seal)

    async def index(self) -> None:
        """Keep the search index up to date, until :meth:`end`."""
        await self._when_seen(
            "indexing texts", lambda seen: seen.texts, self.index_once, _TEXT_SECONDS
        )

    async def index_once(self) -> None:
        """Index all texts that wait for indexing."""
        await self._texts.once(self._ending.is_set)

    async def sweep(self) -> None:
        """Sweep dependencies and expired runs, until :meth:`end`."""
        await self._again_and_again("looking after ties", self.sweep_once, _TIE_SECONDS)

    async def sweep_once(self) -> None:
        """Apply missed effects of settled runs, end expired runs, and admit runs that still wait although their limit has capacity."""
        await self._sweep_ties()
        await self._sweep_limits()

    async def _sweep_ties(self) -> None:
        services = self._services
        async with services.store.read() as connection:
            more = await on_settled.any_waits(connection, services.clock.now())
        while more and not self._ending.is_set():
            async with services.store.write() as connection:
                now = services.clock.now()
                found = await on_settled.sweep(connection, now)
                await hand_on(services.engine, connection, found, now)
            services.engine.wake()
            more = bool(found.settled)

    async def _sweep_limits(self) -> None:
        """Sweep limits if this node's release decides; the sweep also applies limits that the release changed."""
        async with self._services.store.read() as connection:
            if not await limits.are_used(connection):
                return
            first = releases.deciding(await releases.load(connection))
        if first is not None and first.name == self._release():
            await claimer.sweep(self._services, self._definitions)

    async def follow_alerts(self) -> None:
        """Follow open alerts, until :meth:`end`."""
        if self._alerts is not None:
            await self._alerts.run()

    async def look(self) -> None:
        """Check for late slots, queues and runs, and ping, until :meth:`end`."""
        await self._again_and_again("looking for what is late", self.look_once, _LATE_SECONDS)

    async def look_once(self) -> None:
        """Check for late slots, queues and runs; record issues, alert about new issues, and ping."""
        services, now = self._services, self._services.clock.now()
        jobs = list(self._definitions.values())
        async with services.store.read() as connection:
            found = await sla.late(connection, jobs, now, self._following)
            noted = await error_groups.noted(connection)
            lacking = await error_groups.lacking(connection)
        broken = {(one.subject, one.kind): one for one in found if one.kind in EXPECTED}
        right = {key for key in noted - broken.keys() if key[1] in EXPECTED}
        watched = {(job.name, error_groups.WATCHED) for job in jobs if job.expectations.successes}
        new: list[sla.Late] = []
        if lacking or right or not noted.issuperset(broken.keys() | watched):
            async with services.store.write() as connection:
                for (subject, kind), one in broken.items():
                    if await error_groups.note_issue(connection, subject, kind, one.detail, now):
                        new.append(one)
                for key in right:
                    await error_groups.remove(connection, *key)
                for subject, kind in watched - noted:
                    await error_groups.note_issue(connection, subject, kind, "", now)
                await error_groups.give_causes(connection, now)
        for one in new:
            job = self._definitions[one.subject]
            services.notify(AlertEvent("late", job, None, one.detail, about=one.kind))
        self._ping_if_well(found)
        if self._alerts is not None:
            self._alerts.look(noted - right | broken.keys(), now)

    def _ping_if_well(self, found: list[sla.Late]) -> None:
        """Send a ping if the scheduler works: the database answers, and no slot is late."""
        settings = self._services.settings
        slots_come = not any(one.kind == "slot" for one in found)
        due = time.monotonic() - self._pinged >= settings.ping_seconds
        if settings.ping_url and self._schedule and slots_come and due:
            self._pinged = time.monotonic()
            self._put(settings.ping_url)

    async def ping(self) -> None:
        """Fetch the queued ping addresses in turn, until cancelled."""
        while True:
            address = await self._pings.get()
            try:
                await _fetch(resolve(address))
                self._refused.discard(address)
            except Exception as error:  # noqa: BLE001 - the monitor notices the missing ping
                if address not in self._refused:
                    self._refused.add(address)
                    log.warning("a ping did not arrive: %s", _reason(error))


async def _fetch(url: str) -> None:
    import httpx

    from ...features.alerts.http_post import hide_address

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
