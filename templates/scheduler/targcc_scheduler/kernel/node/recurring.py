"""The recurring scheduler: create, skip or record the slots of schedules."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import SYSTEM
from ...core.clock import wait_for
from ...core.outage import OUTAGES, Outage
from ...core.states import RunState
from ...features.alerts.message import AlertEvent
from ...features.calendars import model as calendar_model
from ...features.calendars.model import Window
from ...features.legacy import owners
from ...features.legacy.owners import Owner
from ...features.overrides.loops import OverrideWatch
from ...schedules.base import Schedule
from ...schedules.calendars import WorkingSchedule
from ...schedules.intervals import AfterRunSchedule, OnceSchedule
from .. import deferred_keys, releases
from ..changes import Mark, PollResult
from ..engine.submit import dependencies_of, runs_after, submit_created
from ..jobs.definition import CapacityDemand, JobDefinition, JobType
from ..releases import LOWEST
from ..runs import create
from ..runs.values import NewRun
from ..unique import expiry, unique_key
from ..worker.node_services import NodeServices
from . import slots
from .fingerprint import schedule_of

# When the next slot of each job comes.


class Agenda:
    """The next slot of each job; ``None`` for one that has none to come.

    Which comes first is kept, so that an idle node with thousands of jobs compares two instants a second, and not all of them.
    """

    def __init__(self) -> None:
        self._next: dict[str, datetime | None] = {}
        self._first: datetime | None = None
        self._is_known = True

    def __contains__(self, name: str) -> bool:
        return name in self._next

    def put(self, name: str, at: datetime | None) -> None:
        """The next slot of a job is then."""
        self._next[name] = at
        self._is_known = False

    def keep(self, names: Collection[str]) -> None:
        """Forget all other jobs."""
        for name in self._next.keys() - names:
            del self._next[name]
            self._is_known = False

    def first(self) -> datetime | None:
        """When the first of all comes."""
        if not self._is_known:
            self._first = min((at for at in self._next.values() if at is not None), default=None)
            self._is_known = True
        return self._first

    def due(self, now: datetime) -> list[str]:
        """The jobs whose slot has come."""
        first = self.first()
        if first is None or first > now:
            return []
        return [name for name, at in self._next.items() if at is not None and at <= now]


# Which slots of a schedule are due, and which were missed. No database, no clock: only what the rules say.
#
# * A slot older than the job's grace (a day unless said otherwise, and there may be no limit) is missed, under any policy.
# * ``run_once``: of several slots that wait, the newest runs and the others are missed.
# * ``run_all``: each runs.
# * ``skip``: a slot that is more than a minute late is missed.
# * At most 100 missed slots are recorded at a time; the oldest of them says how many more there were before it.
#
# The work is bounded: a job of every second costs no more after a year of downtime than after an hour.

MOST_MISSED = 100
"""Missed slots that are recorded at a time."""
MOST_RUNS = 500
"""Slots of ``run_all`` that are run at a time; the rest follow at once."""
ON_TIME = timedelta(minutes=1)
"""A slot that is later than this is late."""

_COUNTED = 1000
_INSTANT = timedelta(microseconds=1)
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class DueSlots:
    """What to do about the slots that have come.

    Args:
        run: Slots to run, oldest first.
        missed: Slots to record as missed, oldest first.
        last: Everything up to here is handled by this.
        earlier: How many were missed before those.
        counted: Whether ``earlier`` is exact; else there were at least so many.
    """

    run: tuple[datetime, ...]
    missed: tuple[datetime, ...]
    last: datetime
    earlier: int = 0
    counted: bool = True


def due_slots(definition: JobDefinition, last: datetime, now: datetime) -> DueSlots | None:
    """The slots in ``(last, now]``, and what becomes of them; ``None`` when there are none.

    Args:
        definition: A job with a schedule.
        last: Everything up to here is handled.
        now: The present instant.
    """
    schedule, zone = definition.schedule, definition.timezone
    if schedule is None:
        return None
    first = schedule.next(last, zone)
    if first is None or first > now:
        return None
    newest = schedule.previous(now + _INSTANT, zone)
    if newest is None or newest < first:
        newest = first
    from_here = _first_to_run(definition, newest, now)
    run = _between(schedule, max(from_here, first), now, zone)
    missed, earlier, counted = _missed(schedule, first, from_here, newest, zone)
    done = run[-1] if len(run) == MOST_RUNS else newest
    return DueSlots(run, missed, done, earlier, counted)


def _first_to_run(definition: JobDefinition, newest: datetime, now: datetime) -> datetime:
    """Slots from this instant on run, those before are missed."""
    oldest = _EVER if definition.misfire_grace is None else now - definition.misfire_grace
    if definition.misfire == "run_all":
        return oldest
    if definition.misfire == "skip":
        return max(oldest, now - ON_TIME)
    return max(oldest, newest)


def _between(schedule: Schedule, start: datetime, end: datetime, zone: str) -> tuple[datetime, ...]:
    slots = schedule.iter(start - _INSTANT, zone)
    return tuple(islice(takewhile(lambda slot: slot <= end, slots), MOST_RUNS))


def _missed(
    schedule: Schedule, first: datetime, before: datetime, newest: datetime, zone: str
) -> tuple[tuple[datetime, ...], int, bool]:
    """The newest slots in ``[first, before)``, and how many there were before them."""
    slots: list[datetime] = []
    slot: datetime | None = newest if newest < before else schedule.previous(before, zone)
    while slot is not None and slot >= first and len(slots) < MOST_MISSED:
        slots.append(slot)
        slot = schedule.previous(slot, zone)
    slots.reverse()
    if not slots or slot is None or slot < first:
        return tuple(slots), 0, True
    oldest = slots[0]
    rest = takewhile(lambda item: item < oldest, schedule.iter(first - _INSTANT, zone))
    earlier = sum(1 for _ in islice(rest, _COUNTED))
    return tuple(slots), earlier, earlier < _COUNTED


# The runs that slots become: created, skipped or recorded as missed; those of many jobs with a few statements.
#
# Where a job may overlap itself only so much, whether a slot runs depends on the runs before it. So the slots are created in rounds: a round holds
# what can be decided now. Most slots need one, and it is one statement for all jobs.


async def create_runs(
    connection: AsyncConnection, due: Sequence[tuple[JobDefinition, DueSlots]], now: datetime
) -> list[tuple[int, NewRun]]:
    """Create the runs of slots, and say that they are handled.

    Args:
        connection: A transaction in which the rows of these jobs in ``c_JobSchedule`` are locked.
        due: Jobs, each once, and what to do about their slots.
        now: The present instant.

    Returns:
        The runs that are to be submitted to the engine, in the same transaction, with their ids; and those that follow them are to be created.
    """
    careful = [job.name for job, item in due if item.run and job.overlap == "skip"]
    busy = await slots.busy_runs(connection, careful)
    closed = await calendar_model.active(connection, now) if due else []
    jobs = [
        _JobSlots(job, item, busy.get(job.name, []), now, _skipping(job, closed))
        for job, item in due
    ]
    begun: list[tuple[int, NewRun]] = []
    while runs := [run for job in jobs for run in job.next_round()]:
        ids = await deferred_keys.insert_slots(connection, runs, now)
        begun += [one for job in jobs for one in job.created(ids)]
    await slots.advance(connection, {job.name: item.last for job, item in due})
    return begun


class _JobSlots:
    """The slots of one job on their way.

    Args:
        job: The job.
        due: What to do about them.
        busy: The runs of the job that are in the way.
        now: The present instant.
        window: The maintenance window in which they are skipped, if they are.
    """

    def __init__(
        self,
        job: JobDefinition,
        due: DueSlots,
        busy: list[int],
        now: datetime,
        window: Window | None = None,
    ) -> None:
        self._job = job
        self._now = now
        self._window = window
        self._busy = busy
        self._missed = list(_missed_run(job, due))
        self._left = list(due.run)
        self._begun: list[NewRun] = []
        late = bool(due.run) and now - due.run[0] > ON_TIME
        catches_up = late and job.misfire == "run_all"
        self._careful = job.overlap == "skip" and not catches_up

    def next_round(self) -> list[NewRun]:
        """The rows that can be decided about now."""
        missed, self._missed = self._missed, []
        if not self._left:
            return missed
        if self._window is not None:
            note = f"maintenance: {self._window.reason}"
            skipped = [_run(self._job, slot, RunState.SKIPPED, note) for slot in self._left]
            self._left = []
            return missed + skipped
        room = (self._job.limit or 1) - len(self._busy) if self._careful else len(self._left)
        if room <= 0:
            skipped = [_skipped(self._job, slot, self._busy[0]) for slot in self._left]
            self._left = []
            return missed + skipped
        slots_begun, self._left = self._left[:room], self._left[room:]
        then = runs_after(self._job, str(SYSTEM), self._now)
        self._begun = [
            replace(_run(self._job, slot, RunState.ENQUEUED), then=then, ties=dependencies_of(then))
            for slot in slots_begun
        ]
        return missed + self._begun

    def created(self, ids: Mapping[create.Slot, int]) -> Iterator[tuple[int, NewRun]]:
        """Take note of the rows that are new, and have begun to wait."""
        for run in self._begun:
            run_id = ids.get((run.job_name, run.due_at))
            if run_id is not None:
                self._busy.append(run_id)
                yield run_id, run
        self._begun = []


def _skipping(job: JobDefinition, closed: Sequence[Window]) -> Window | None:
    """The window in which slots are skipped; those of other jobs have runs that wait for its end."""
    if job.misfire != "skip":
        return None
    return next((window for window in closed if window.covers(job.queue)), None)


def _missed_run(job: JobDefinition, due: DueSlots) -> Iterator[NewRun]:
    for index, slot in enumerate(due.missed):
        note = _missed_note(due) if index == 0 else "nobody could start it in time"
        yield _run(job, slot, RunState.MISSED, note)


def _run(
    job: JobDefinition,
    slot: datetime,
    state: RunState,
    note: str = "",
    blocked_by: int | None = None,
) -> NewRun:
    begins = state is RunState.ENQUEUED
    arguments_json = job.check({}) if begins else None
    room = job.room(arguments_json) if begins else CapacityDemand(limit_key=None, weight=1)
    return NewRun(
        job_name=job.name,
        job_type=JobType.RECURRING,
        queue=job.queue,
        priority=job.priority,
        arguments_json=arguments_json,
        due_at=slot,
        scheduled_for=slot,
        triggered_by=str(SYSTEM),
        state=state,
        note=note,
        blocked_by=blocked_by,
        expires_at=expiry(job, slot) if begins else None,
        unique=unique_key(job, arguments_json) if begins else None,
        **room,
    )


def _skipped(job: JobDefinition, slot: datetime, blocker: int) -> NewRun:
    return _run(job, slot, RunState.SKIPPED, f"run {blocker} was still busy", blocker)


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


# The recurring scheduler: when a slot of a recurring job comes, its run is created; exactly one, with any number of nodes.
#
# Every node does this for every job. What makes it one run is the database: a slot's run, the note that the slot is handled and
# the engine's submission are one transaction, and (job, slot) is unique.

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

    def see(self, seen: PollResult) -> None:
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
        ranks, mine = await releases.release_ranks(connection), self._release()
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
    await owners.record(connection, {job.name: (*item.missed, *item.run) for job, item in seen})
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
