"""The recurring scheduler: when a slot of a recurring job comes, its run is created; exactly one, with any number of nodes.

Every node does this for every job. What makes it one run is the database: a slot's run, the note that the slot is handled and
the engine's submission are one transaction, and (job, slot) is unique.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ...alerts.events import AlertEvent
from ...core.actor import SYSTEM
from ...core.clock import wait_for
from ...core.outage import OUTAGES, Outage
from ...engine.creating import submit_created
from ...jobs.definition import JobDefinition
from ...schedules import AfterRunSchedule, OnceSchedule, WorkingSchedule
from ...storage import slots
from ...storage.deploy import releases
from ...storage.deploy.releases import LOWEST
from ...storage.lookout.seen import Mark, Seen
from ...storage.owners import rows as owners
from ...storage.owners import shadow
from ...storage.owners.values import Owner
from ...worker.node_services import NodeServices
from ..fingerprint import schedule_of
from ..overrides import OverrideWatch
from .agenda import Agenda
from .due_slots import ON_TIME, DueSlots, due_slots
from .slot_runs import create_runs

log = logging.getLogger("targcc.node.slots.recurring")

_JOBS_A_TRANSACTION = 500
_REFRESH_SECONDS = 60.0
_OWNERS_SECONDS = 1.5
"""How often to look whether a job has changed its owner on another node."""
_BUSY_CHECK = timedelta(seconds=5)
"""How often to look whether another node has finished the run that an interval after a run waits for."""
_FAR_AHEAD = timedelta(seconds=5)
"""A last slot so far in the future was written by a clock that was wrong: nodes go by the database's, and agree better than that."""


class RecurringScheduler:
    """Creates the runs of recurring jobs.

    Args:
        services: Database, engine, the clock that tells when a slot has come, and who hears of missed slots.
        definitions: The jobs; may change while it works.
        release: The release of this node, once it is known.
        overrides: What people have changed of the jobs.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        release: Callable[[], str] = str,
        overrides: OverrideWatch | None = None,
    ) -> None:
        self._store = services.store
        self._engine = services.engine
        self._clock = services.clock
        self._notify = services.notify
        self._definitions = definitions
        self._release = release
        self._overrides = overrides
        self._agenda = Agenda()
        self._planned: dict[str, tuple[datetime | None, str]] = {}
        """From which slot on, and by which schedule, the next one of a job was counted."""
        self._refreshed = float("-inf")
        self._owners: Mark = None
        self._wake = asyncio.Event()
        self._outage = Outage(log, "creating the runs of recurring jobs")

    async def run(self) -> None:
        """Create runs as their slots come, until cancelled."""
        self._refreshed = float("-inf")  # begun again after a fault, it knows nothing for sure
        while True:
            try:
                until = await self.tick()
                self._outage.over()
            except OUTAGES as error:
                self._refreshed = float("-inf")
                # In real time: a clock that stands still would keep it from trying again.
                await wait_for(self._wake, self._outage.failed(error).total_seconds())
                self._wake.clear()
            else:
                await self._clock.wait(until, self._wake)

    def wake(self) -> None:
        """Look again at all jobs; call it on the scheduler's loop."""
        self._refreshed = float("-inf")
        self._wake.set()

    def completed(self, job_name: str) -> None:
        """A run of a job has ended on this node: what is counted from it may be due."""
        definition = self._definitions.get(job_name)
        if definition is not None and isinstance(definition.schedule, AfterRunSchedule):
            self._agenda.put(job_name, self._clock.now())
            self._wake.set()

    async def follow_owners(self) -> None:
        """Look again at all jobs when one has changed its owner, until cancelled: the slot from which it is ours may have come already."""
        outage = Outage(log, "looking who runs the jobs")
        while True:
            try:
                self.see(await self._store.lookout.next(_OWNERS_SECONDS))
                outage.over()
            except OUTAGES as error:
                outage.failed(error)

    def see(self, seen: Seen) -> None:
        """See whether a job has changed its owner."""
        if seen.owners != self._owners:
            self._owners = seen.owners
            self.wake()

    async def tick(self) -> datetime | None:
        """Handle every slot that has come; returns when the next one comes, if there is one."""
        if self._owners is None:
            self._owners = (await self._store.lookout.look()).owners
        if time.monotonic() - self._refreshed >= _REFRESH_SECONDS:
            await self._refresh()
        while due := self._due():
            for start in range(0, len(due), _JOBS_A_TRANSACTION):
                await self._create_runs(due[start : start + _JOBS_A_TRANSACTION])
                await asyncio.sleep(0)  # heartbeats come first
        return self._agenda.first()

    def _due(self) -> list[JobDefinition]:
        due = self._agenda.due(self._clock.now())
        return [self._definitions[name] for name in due if name in self._definitions]

    async def _refresh(self) -> None:
        """Read where every schedule stands; jobs that are new or have another schedule start from now."""
        self._refreshed = time.monotonic()  # before anything is read: a wake() meanwhile counts
        if self._overrides is not None:
            await self._overrides.look(self._store, ends=True)
        now = self._clock.now()
        jobs = [item for item in list(self._definitions.values()) if item.schedule is not None]
        async with self._store.read() as connection:
            known = await slots.load(connection)
        if any(_restarts(job, row, now) or self._is_others(row) for job, row in _with(known, jobs)):
            async with self._store.write() as connection:
                if self._overrides and not await self._overrides.is_up_to_date(connection):
                    self.wake()  # somebody has changed a job meanwhile: it has another schedule
                    return
                await self._restart(connection, jobs, now)
                known = await slots.load(connection)
        self._agenda.keep({job.name for job in jobs})
        for index, job in enumerate(jobs):
            row = known[job.name]
            text = schedule_of(job)
            last = row.last_slot if row.text == text else None  # another release's
            if job.name not in self._agenda or self._planned.get(job.name) != (last, text):
                self._plan(job, last, now)
            if index % 100 == 0:
                await asyncio.sleep(0)

    def _is_others(self, row: slots.ScheduleRow | None) -> bool:
        return row is not None and row.release != self._release()

    async def _restart(
        self, connection: AsyncConnection, jobs: Sequence[JobDefinition], now: datetime
    ) -> None:
        """Start the schedules that are new or have changed. One that a newer release has written stays as it is."""
        await owners.lock_first(connection)
        ranks, mine = await releases.ranks(connection), self._release()
        known = await slots.load(connection)
        owned = await owners.load(connection)
        await slots.add_new(connection, list(_new_rows(jobs, known, now, mine, owned)))
        changed: list[JobDefinition] = []
        unchanged: list[str] = []
        for job in jobs:
            row = known.get(job.name)
            if row is None or ranks.get(row.release or "", LOWEST) > ranks.get(mine, LOWEST):
                continue
            if row.renamed_to in job.aliases:  # what it had under that name comes over first
                continue
            if not _restarts(job, row, now):
                unchanged += [job.name] if row.release != mine else []
                continue
            if row.last_slot is not None and row.last_slot > now + _FAR_AHEAD:
                log.warning("%s was handled up to %s, by a wrong clock", job.name, row.last_slot)
            changed.append(job)
        await slots.lock(connection, [*unchanged, *(job.name for job in changed)])
        for job in changed:
            await slots.restart(connection, job.name, schedule_of(job), _begin(job, now), mine)
        await slots.own(connection, unchanged, mine)

    async def _create_runs(self, jobs: Sequence[JobDefinition]) -> None:
        """Handle the slots of jobs that are due, in one transaction."""
        now = self._clock.now()
        handled: list[tuple[JobDefinition, datetime]] = []
        due: dict[Owner, list[tuple[JobDefinition, DueSlots]]] = {Owner.NEW: [], Owner.SHADOW: []}
        async with self._store.write() as connection:
            rows = await slots.load(connection, [job.name for job in jobs])
            theirs = await owners.not_ours(connection, rows)
            for job in jobs:
                owner = theirs.get(job.name, Owner.NEW)
                after_runs = isinstance(job.schedule, AfterRunSchedule)
                if owner is Owner.OLD or (owner is Owner.SHADOW and after_runs):
                    self._pass(job, now)  # what counts from runs has no slots while there are none
                    continue
                last = await self._last_slot(connection, job, rows.get(job.name), now)
                if last is None:
                    continue
                if isinstance(job.schedule, AfterRunSchedule):
                    found = await self._due_after_run(connection, job, job.schedule, last, now)
                else:
                    found = due_slots(job, last, now)
                    handled.append((job, last if found is None else found.last))
                due[owner] += [(job, found)] if found is not None else []
            await _record(connection, due[Owner.SHADOW])
            if begun := await create_runs(connection, due[Owner.NEW], now):
                await submit_created(self._engine, connection, begun, now)
        for job, last in handled:
            self._plan(job, last, now)
        self._engine.wake()
        for job, item in due[Owner.NEW]:
            if item.missed:
                self._notify(_missed_event(job, item))

    async def _last_slot(
        self,
        connection: AsyncConnection,
        job: JobDefinition,
        row: slots.ScheduleRow | None,
        now: datetime,
    ) -> datetime | None:
        """Up to where a job's slots are handled; ``None`` for one that has none to handle now."""
        if row is None or row.last_slot is None or row.text != schedule_of(job):
            # Somebody removed it, or another release has changed it: the next refresh looks whose it is.
            self._agenda.put(job.name, None)
            return None
        if row.is_paused(now):
            self._pass(job, now)
            return None
        if row.paused_at is None or row.paused_until is None:
            return row.last_slot
        last = max(row.last_slot, row.paused_until)
        await slots.end_pause(connection, job.name, last)
        return last

    def _pass(self, job: JobDefinition, now: datetime) -> None:
        """Let the slots up to now pass silently; nothing is written, so that a pause costs nothing."""
        self._plan(job, now, now)
        if isinstance(job.schedule, AfterRunSchedule):
            self._agenda.put(job.name, now + _BUSY_CHECK)

    async def _due_after_run(
        self,
        connection: AsyncConnection,
        job: JobDefinition,
        schedule: AfterRunSchedule,
        last: datetime,
        now: datetime,
    ) -> DueSlots | None:
        """The slot of a job that waits for the end of its run before; remembers when to look again."""
        self._agenda.put(job.name, now + _BUSY_CHECK)
        if (await slots.busy_runs(connection, [job.name]))[job.name]:
            return None
        before = await slots.last_run(connection, job.name)
        slot = (
            schedule.next(last, job.timezone)
            if before is None
            else schedule.following(max(last, before[0]), max(last, before[1]), job.timezone)
        )
        if slot is None or slot > now:
            self._agenda.put(job.name, slot)
            return None
        grace = ON_TIME if job.misfire == "skip" else job.misfire_grace
        if grace is None or now - slot <= grace:
            return DueSlots((slot,), (), last=slot)
        self._agenda.put(job.name, schedule.next(now, job.timezone))
        return DueSlots((), (slot,), last=now)

    def _plan(self, job: JobDefinition, last: datetime | None, now: datetime) -> None:
        """Remember when the job's next slot comes."""
        self._planned[job.name] = last, schedule_of(job)
        if job.schedule is None or last is None:
            self._agenda.put(job.name, None)
        elif isinstance(job.schedule, AfterRunSchedule):
            self._agenda.put(job.name, now)  # only the database knows when its last run ended
        else:
            self._agenda.put(job.name, job.schedule.next(last, job.timezone))


async def _record(
    connection: AsyncConnection, seen: Sequence[tuple[JobDefinition, DueSlots]]
) -> None:
    """Write down the slots of jobs that only look on; they are handled by that."""
    await shadow.record(connection, {job.name: (*item.missed, *item.run) for job, item in seen})
    await slots.advance(connection, {job.name: item.last for job, item in seen})


def _with(
    known: Mapping[str, slots.ScheduleRow], jobs: Sequence[JobDefinition]
) -> Iterator[tuple[JobDefinition, slots.ScheduleRow | None]]:
    return ((job, known.get(job.name)) for job in jobs)


def _begin(job: JobDefinition, now: datetime) -> datetime:
    """From where a new schedule is handled; an instant that has passed already is not forgotten in silence."""
    schedule = job.schedule.base if isinstance(job.schedule, WorkingSchedule) else job.schedule
    if isinstance(schedule, OnceSchedule) and schedule.at <= now:
        return schedule.at - timedelta(microseconds=1)
    return now


def _restarts(job: JobDefinition, row: slots.ScheduleRow | None, now: datetime) -> bool:
    """Whether a job starts from now: it is new, its schedule has changed, or its last slot was written by a wrong clock."""
    if row is None or row.last_slot is None or row.text != schedule_of(job):
        return True
    return row.last_slot > now + _FAR_AHEAD


def _new_rows(
    jobs: Sequence[JobDefinition],
    known: Mapping[str, slots.ScheduleRow],
    now: datetime,
    release: str,
    owned: Collection[str],
) -> Iterator[dict[str, object]]:
    for job in jobs:
        if job.name not in known:
            paused = job.paused and job.name not in owned  # its owner says who runs it
            yield {
                "JobName": job.name,
                "ScheduleText": schedule_of(job),
                "Release": release,
                "LastSlot": _begin(job, now),
                "PausedBy": str(SYSTEM) if paused else None,
                "PausedAt": now if paused else None,
                "PauseReason": "created paused" if paused else None,
            }


def _missed_event(job: JobDefinition, due: DueSlots) -> AlertEvent:
    count = len(due.missed) + due.earlier
    what = "1 slot was missed" if count == 1 else f"{count} slots were missed"
    return AlertEvent(
        kind="missed",
        definition=job,
        run_id=None,
        message=f"{what}; the newest was due at {due.missed[-1].isoformat(timespec='seconds')}",
        scheduled_for=due.missed[-1],
    )
