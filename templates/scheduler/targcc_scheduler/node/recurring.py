"""The recurring scheduler: when a slot of a recurring job comes, its run is created; exactly one, with any number of nodes.

Every node does this for every job. What makes it one run is the database: a slot's run, the note that the slot is handled and
the engine's submission are one transaction, and (job, slot) is unique.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ..alerts.events import AlertEvent
from ..core.actor import SYSTEM
from ..core.outage import OUTAGES, Outage
from ..core.states import RunState
from ..engine.port import Submission
from ..jobs.definition import JobDefinition, JobType
from ..schedules import AfterCompletionSchedule, OnceSchedule
from ..storage import slots
from ..storage.runs import create, operate, values
from ..worker.node_services import NodeServices
from .due_slots import ON_TIME, DueSlots, due_slots

log = logging.getLogger("targcc.node.recurring")

_JOBS_A_TRANSACTION = 50
_REFRESH_SECONDS = 60.0
_BUSY_CHECK = timedelta(seconds=5)
"""How often to look whether another node has finished the run that an interval after completion waits for."""
_FAR_AHEAD = timedelta(hours=2)
"""A last slot so far in the future was written by a clock that was wrong."""


class RecurringScheduler:
    """Creates the runs of recurring jobs.

    Args:
        services: Database, engine, the clock that tells when a slot has come, and who hears of missed slots.
        definitions: The jobs; may change while it works.
    """

    def __init__(self, services: NodeServices, definitions: Mapping[str, JobDefinition]) -> None:
        self._store = services.store
        self._engine = services.engine
        self._clock = services.clock
        self._notify = services.notify
        self._definitions = definitions
        self._next: dict[str, datetime | None] = {}
        self._last: dict[str, datetime | None] = {}
        self._refreshed = float("-inf")
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
                until = self._clock.now() + self._outage.failed(error)
            await self._clock.wait(until, self._wake)

    def wake(self) -> None:
        """Look again at all jobs; call it on the scheduler's loop."""
        self._refreshed = float("-inf")
        self._wake.set()

    def completed(self, job_name: str) -> None:
        """A run of a job has ended on this node: an interval after completion may begin."""
        definition = self._definitions.get(job_name)
        if definition is not None and isinstance(definition.schedule, AfterCompletionSchedule):
            self._next[job_name] = self._clock.now()
            self._wake.set()

    async def tick(self) -> datetime | None:
        """Handle every slot that has come; returns when the next one comes, if there is one."""
        if time.monotonic() - self._refreshed >= _REFRESH_SECONDS:
            await self._refresh()
        while due := self._due():
            for start in range(0, len(due), _JOBS_A_TRANSACTION):
                await self._create_runs(due[start : start + _JOBS_A_TRANSACTION])
                await asyncio.sleep(0)  # heartbeats come first
        return min((at for at in self._next.values() if at is not None), default=None)

    def _due(self) -> list[JobDefinition]:
        now = self._clock.now()
        return [
            self._definitions[name]
            for name, at in self._next.items()
            if at is not None and at <= now and name in self._definitions
        ]

    async def _refresh(self) -> None:
        """Read where every schedule stands; jobs that are new or have another schedule start from now."""
        self._refreshed = time.monotonic()  # before anything is read: a wake() meanwhile counts
        now = self._clock.now()
        jobs = [item for item in list(self._definitions.values()) if item.schedule is not None]
        async with self._store.read() as connection:
            known = await slots.load(connection)
        if any(_restarts(job, known.get(job.name), now) for job in jobs):
            async with self._store.write() as connection:
                await self._restart(connection, jobs, now)
                known = await slots.load(connection)
        for name in self._next.keys() - {job.name for job in jobs}:
            del self._next[name]
        for index, job in enumerate(jobs):
            last = known[job.name].last_slot
            if job.name not in self._next or last != self._last.get(job.name):
                self._plan(job, last, now)
            if index % 100 == 0:
                await asyncio.sleep(0)

    async def _restart(
        self, connection: AsyncConnection, jobs: Sequence[JobDefinition], now: datetime
    ) -> None:
        known = await slots.load(connection)
        await slots.add_new(connection, list(_new_rows(jobs, known, now)))
        for job in jobs:
            row = known.get(job.name)
            if row is None or not _restarts(job, row, now):
                continue
            if row.last_slot is not None and row.last_slot > now + _FAR_AHEAD:
                log.warning("%s was handled up to %s, by a wrong clock", job.name, row.last_slot)
            await slots.restart(connection, job.name, _text_of(job), _begin(job, now))

    async def _create_runs(self, jobs: Sequence[JobDefinition]) -> None:
        now = self._clock.now()
        events: list[AlertEvent] = []
        plans: list[tuple[JobDefinition, datetime | None]] = []
        async with self._store.write() as connection:
            rows = await slots.load(connection, [job.name for job in jobs])
            for job in jobs:
                row = rows.get(job.name)
                if row is None or row.last_slot is None:
                    self._next[job.name] = (
                        None  # somebody removed it; the next refresh starts it again
                    )
                    continue
                last = await self._handle(connection, job, row, row.last_slot, now, events=events)
                plans.append((job, last))
        for job, last in plans:
            if last is not None:
                self._plan(job, last, now)
        self._engine.wake()
        for event in events:
            self._notify(event)

    async def _handle(
        self,
        connection: AsyncConnection,
        job: JobDefinition,
        row: slots.ScheduleRow,
        last: datetime,
        now: datetime,
        *,
        events: list[AlertEvent],
    ) -> datetime | None:
        """Create the runs of one job's slots; returns the last slot that is handled, ``None`` to look again later."""
        if row.is_paused(now):
            return now  # slots pass silently; nothing is written, so that a pause costs nothing
        if row.paused_at is not None and row.paused_until is not None:
            last = max(last, row.paused_until)
            await slots.end_pause(connection, job.name, last)
        if isinstance(job.schedule, AfterCompletionSchedule):
            return await self._handle_completion(connection, job, job.schedule, last, now)
        due = due_slots(job, last, now)
        if due is None:
            return last
        await self._insert(connection, job, due, now)
        await slots.advance(connection, job.name, due.last)
        if due.missed:
            events.append(_missed_event(job, due))
        return due.last

    async def _handle_completion(
        self,
        connection: AsyncConnection,
        job: JobDefinition,
        schedule: AfterCompletionSchedule,
        last: datetime,
        now: datetime,
    ) -> datetime | None:
        if await operate.blocking_runs(connection, job.name):
            self._next[job.name] = now + _BUSY_CHECK
            return None
        ended = await slots.last_completion(connection, job.name)
        base = last if ended is None else max(last, ended)
        slot = schedule.next(base, job.timezone)
        if slot is None or slot > now:
            self._next[job.name] = slot
            return None
        grace = ON_TIME if job.misfire == "skip" else job.misfire_grace
        if now - slot > grace:
            await self._insert(connection, job, DueSlots((), (slot,), last=now), now)
            await slots.advance(connection, job.name, now)
            self._next[job.name] = schedule.next(now, job.timezone)
            return None
        await self._insert(connection, job, DueSlots((slot,), (), last=slot), now)
        await slots.advance(connection, job.name, slot)
        self._next[job.name] = now + _BUSY_CHECK
        return None

    async def _insert(
        self, connection: AsyncConnection, job: JobDefinition, due: DueSlots, now: datetime
    ) -> None:
        for index, slot in enumerate(due.missed):
            note = _missed_note(due) if index == 0 else "nobody could start it in time"
            await create.insert_slot(connection, _run(job, slot, RunState.MISSED, note), now)
        busy = await operate.blocking_runs(connection, job.name) if job.overlap == "skip" else []
        created: list[Submission] = []
        late = bool(due.run) and now - due.run[0] > ON_TIME
        catching_up = late and job.misfire == "run_all"
        for slot in due.run:
            if len(busy) >= (job.limit or 1) and not catching_up:
                await create.insert_slot(connection, _skipped(job, slot, busy[0]), now)
                continue
            run_id = await create.insert_slot(connection, _run(job, slot, RunState.ENQUEUED), now)
            if run_id is not None:
                created.append(Submission(run_id, job.queue, job.priority, slot))
                busy += [run_id] if job.overlap == "skip" else []
        if created:
            await self._engine.submit(connection, created)

    def _plan(self, job: JobDefinition, last: datetime | None, now: datetime) -> None:
        """Remember when the job's next slot comes."""
        self._last[job.name] = last
        if job.schedule is None or last is None:
            self._next[job.name] = None
        elif isinstance(job.schedule, AfterCompletionSchedule):
            self._next[job.name] = now  # only the database knows when its last run ended
        else:
            self._next[job.name] = job.schedule.next(last, job.timezone)


def _text_of(job: JobDefinition) -> str:
    return f"{job.schedule_text} {job.timezone}"[:300]


def _begin(job: JobDefinition, now: datetime) -> datetime:
    """From where a new schedule is handled; an instant that has passed already is not forgotten in silence."""
    if isinstance(job.schedule, OnceSchedule) and job.schedule.at <= now:
        return job.schedule.at - timedelta(microseconds=1)
    return now


def _restarts(job: JobDefinition, row: slots.ScheduleRow | None, now: datetime) -> bool:
    """Whether a job starts from now: it is new, its schedule has changed, or its last slot was written by a wrong clock."""
    if row is None or row.last_slot is None or row.text != _text_of(job):
        return True
    return row.last_slot > now + _FAR_AHEAD


def _new_rows(
    jobs: Sequence[JobDefinition], known: Mapping[str, slots.ScheduleRow], now: datetime
) -> Iterator[dict[str, object]]:
    for job in jobs:
        if job.name not in known:
            yield {
                "JobName": job.name,
                "ScheduleText": _text_of(job),
                "LastSlot": _begin(job, now),
                "PausedBy": str(SYSTEM) if job.paused else None,
                "PausedAt": now if job.paused else None,
                "PauseReason": "created paused" if job.paused else None,
            }


def _run(job: JobDefinition, slot: datetime, state: RunState, note: str = "") -> values.NewRun:
    return values.NewRun(
        job_name=job.name,
        job_type=JobType.RECURRING,
        queue=job.queue,
        priority=job.priority,
        arguments_json=job.signature.check({}) if state == RunState.ENQUEUED else None,
        due_at=slot,
        scheduled_for=slot,
        triggered_by=str(SYSTEM),
        state=state,
        note=note,
    )


def _skipped(job: JobDefinition, slot: datetime, blocker: int) -> values.NewRun:
    return values.NewRun(
        job_name=job.name,
        job_type=JobType.RECURRING,
        queue=job.queue,
        priority=job.priority,
        due_at=slot,
        scheduled_for=slot,
        triggered_by=str(SYSTEM),
        state=RunState.SKIPPED,
        note=f"run {blocker} was still busy",
        blocked_by=blocker,
    )


def _missed_note(due: DueSlots) -> str:
    note = "nobody could start it in time"
    if not due.earlier:
        return note
    count = f"{due.earlier}" if due.counted else f"at least {due.earlier}"
    return (
        f"{note}; so were {count} earlier slots"
        if count != "1"
        else f"{note}; so was 1 earlier slot"
    )


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
