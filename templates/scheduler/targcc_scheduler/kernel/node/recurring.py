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
from ...schedules.base import Schedule
from ...schedules.calendars import WorkingSchedule
from ...schedules.intervals import AfterRunSchedule, OnceSchedule
from .. import deferred_keys, releases
from .. import job_owner as owners
from .. import pauses as calendar_model
from ..alert_events import AlertEvent
from ..engine.submit import dependencies_of, runs_after, submit_created
from ..feature import JobChanger
from ..job_owner import Owner
from ..jobs.definition import CapacityDemand, JobDefinition, JobType
from ..pauses import Window
from ..poller import Mark, PollResult, poller_of
from ..releases import LOWEST
from ..runs import create
from ..runs.values import NewRun
from ..unique import expiry, unique_key
from ..worker.node_services import NodeServices
from . import slots
from .releases import schedule_of

# Next slot of each job.


class Agenda:
    """The next slot of each job; ``None`` for a job without a next slot.

    The earliest slot is cached: an idle node with thousands of jobs compares two instants a second, not thousands.
    """

    def __init__(self) -> None:
        self._next: dict[str, datetime | None] = {}
        self._first: datetime | None = None
        self._is_known = True

    def __contains__(self, name: str) -> bool:
        return name in self._next

    def put(self, name: str, at: datetime | None) -> None:
        """Set the next slot of a job."""
        self._next[name] = at
        self._is_known = False

    def keep(self, names: Collection[str]) -> None:
        """Forget all jobs except ``names``."""
        for name in self._next.keys() - names:
            del self._next[name]
            self._is_known = False

    def first(self) -> datetime | None:
        """Return the earliest next slot of all jobs; ``None`` without any."""
        if not self._is_known:
            self._first = min((at for at in self._next.values() if at is not None), default=None)
            self._is_known = True
        return self._first

    def due(self, now: datetime) -> list[str]:
        """Return the jobs whose next slot is due."""
        first = self.first()
        if first is None or first > now:
            return []
        return [name for name, at in self._next.items() if at is not None and at <= now]


# Due and missed slots of a schedule: pure rules, without database or clock.
#
# * Under any policy, a slot older than the job's grace is missed. The default grace is a day; a job may have no limit.
# * ``run_once``: the newest due slot runs, earlier due slots are missed.
# * ``run_all``: every due slot runs.
# * ``skip``: a slot more than a minute late is missed.
# * At most 100 missed slots are recorded at a time; the note on the oldest gives the number of earlier missed slots.
#
# The work is bounded: a job that runs every second costs no more after a year of downtime than after an hour.

MOST_MISSED = 100
"""Most missed slots recorded at a time."""
MOST_RUNS = 500
"""Most slots of ``run_all`` run at a time; the rest follows at once."""
ON_TIME = timedelta(minutes=1)
"""Delay after which a slot is late."""

_COUNTED = 1000
_INSTANT = timedelta(microseconds=1)
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class DueSlots:
    """Decision about the due slots of a job.

    Args:
        run: Slots to run, oldest first.
        missed: Slots to record as missed, oldest first.
        last: Last slot that this decision handles.
        earlier: Number of slots missed before those in ``missed``.
        counted: Whether ``earlier`` is exact; otherwise ``earlier`` is a minimum.
    """

    run: tuple[datetime, ...]
    missed: tuple[datetime, ...]
    last: datetime
    earlier: int = 0
    counted: bool = True


def due_slots(definition: JobDefinition, last: datetime, now: datetime) -> DueSlots | None:
    """Decide about the slots in ``(last, now]``.

    Args:
        definition: A job with a schedule.
        last: Last handled slot.
        now: The current time.

    Returns:
        The decision; ``None`` without due slots.
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
    """Return the instant from which due slots run; earlier slots are missed."""
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
    """Return the newest slots in ``[first, before)``, the number of slots before these, and whether that number is exact."""
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


# Runs of slots: create, skip, or record as missed, with a few statements for many jobs.
#
# For a job with ``overlap="skip"``, whether a slot runs depends on earlier runs. So slots are created in rounds: each round contains the rows
# that can be decided now. Most slots need one round, and a round is one statement for all jobs.


async def create_runs(
    connection: AsyncConnection, due: Sequence[tuple[JobDefinition, DueSlots]], now: datetime
) -> list[tuple[int, NewRun]]:
    """Create the runs of slots and advance the schedules.

    Args:
        connection: A transaction that has locked the rows of these jobs in ``c_JobSchedule``.
        due: Jobs, each at most once, with the decision about their slots.
        now: The current time.

    Returns:
        Ids and values of the new runs. In the same transaction, submit the runs to the engine and create the runs that follow them.
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
        begun += [pair for job in jobs for pair in job.created(ids)]
    await slots.advance(connection, {job.name: item.last for job, item in due})
    return begun


class _JobSlots:
    """The due slots of one job while their runs are created.

    Args:
        job: The job.
        due: Decision about the slots.
        busy: Ids of the job's busy runs, which count against ``limit``.
        now: The current time.
        window: Maintenance window that skips the slots, if any.
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
        """Return the rows that can be decided now."""
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
        """Count the new runs as busy and yield them."""
        for run in self._begun:
            run_id = ids.get((run.job_name, run.due_at))
            if run_id is not None:
                self._busy.append(run_id)
                yield run_id, run
        self._begun = []


def _skipping(job: JobDefinition, closed: Sequence[Window]) -> Window | None:
    """Return the maintenance window that skips the slots of a job.

    A window skips slots only with ``misfire="skip"``. Other jobs' runs wait until the window ends.
    """
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


# The recurring scheduler: create exactly one run for each due slot, with any number of nodes.
#
# Every node does this for every job. The database prevents a second run: inserting the run, advancing the schedule and
# submitting to the engine are one transaction, and (job, slot) is unique.

log = logging.getLogger("targcc.node.recurring")

_JOBS_A_TRANSACTION = 500
_REFRESH_SECONDS = 60.0
_OWNERS_SECONDS = 1.5
"""Seconds between polls for a change of a job's owner."""
_BUSY_CHECK = timedelta(seconds=5)
"""Time between checks whether the run that an after-run schedule waits for has ended on another node."""
_FAR_AHEAD = timedelta(seconds=5)
"""A last slot this far in the future was written by a wrong clock: nodes follow the database's clock and differ by less."""


class RecurringScheduler:
    """Creates the runs of recurring jobs.

    Args:
        services: Database, engine, the clock that decides when a slot is due, and the receiver of alerts about missed slots.
        definitions: The jobs; the mapping may change while the scheduler works.
        release: Return this node's release, once known.
        changers: Change the jobs by rows of the database.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        release: Callable[[], str] = str,
        changers: Sequence[JobChanger] = (),
    ) -> None:
        self._store = services.store
        self._engine = services.engine
        self._clock = services.clock
        self._notify = services.notify
        self._definitions = definitions
        self._release = release
        self._changers = changers
        self._agenda = Agenda()
        self._planned: dict[str, tuple[datetime | None, str]] = {}
        """Last handled slot and schedule text from which the next slot of each job was computed."""
        self._refreshed = float("-inf")
        self._owners: Mark = None
        self._wake = asyncio.Event()
        self._outage = Outage(log, "creating the runs of recurring jobs")

    async def run(self) -> None:
        """Create runs as their slots become due, until cancelled."""
        self._refreshed = float("-inf")  # after a fault, read all schedules again
        while True:
            try:
                until = await self.tick()
                self._outage.over()
            except OUTAGES as error:
                self._refreshed = float("-inf")
                # Wait in real time: with a clock that stands still, the next try would not come.
                await wait_for(self._wake, self._outage.failed(error).total_seconds())
                self._wake.clear()
            else:
                await self._clock.wait(until, self._wake)

    def wake(self) -> None:
        """Read all schedules again; call on the scheduler's loop."""
        self._refreshed = float("-inf")
        self._wake.set()

    def completed(self, job_name: str) -> None:
        """Check a job with an after-run schedule at once, because a run of the job has ended on this node."""
        self._agenda.put(job_name, self._clock.now())
        self._wake.set()

    async def follow_owners(self) -> None:
        """Read all schedules again when a job changes its owner, until cancelled: the new owner's first slot may be due already."""
        outage = Outage(log, "looking who runs the jobs")
        while True:
            try:
                self.see(await poller_of(self._store).next(_OWNERS_SECONDS))
                outage.over()
            except OUTAGES as error:
                outage.failed(error)

    def see(self, seen: PollResult) -> None:
        """Read all schedules again if a job has changed its owner."""
        if seen.owners != self._owners:
            self._owners = seen.owners
            self.wake()

    async def tick(self) -> datetime | None:
        """Handle every due slot; return the instant of the next slot, or ``None``."""
        if self._owners is None:
            self._owners = (await poller_of(self._store).look()).owners
        refresh = poller_of(self._store).spread(_REFRESH_SECONDS, 2 * _REFRESH_SECONDS)
        if time.monotonic() - self._refreshed >= refresh:
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
        """Read all schedules and plan the next slots; new jobs and jobs with a changed schedule start from now."""
        self._refreshed = time.monotonic()  # set before reading, so that a wake() meanwhile counts
        for changer in self._changers:
            await changer.look(self._store, ends=True)
        now = self._clock.now()
        jobs = [item for item in list(self._definitions.values()) if item.schedule is not None]
        async with self._store.read() as connection:
            known = await slots.load(connection)
        if any(_restarts(job, row, now) or self._is_others(row) for job, row in _with(known, jobs)):
            async with self._store.write() as connection:
                if not await self._is_up_to_date(connection):
                    self.wake()  # a job changed meanwhile: a schedule may have changed
                    return
                await self._restart(connection, jobs, now)
                known = await slots.load(connection)
        self._agenda.keep({job.name for job in jobs})
        for index, job in enumerate(jobs):
            row = known[job.name]
            text = schedule_of(job)
            last = row.last_slot if row.text == text else None  # the text is of another release
            if job.name not in self._agenda or self._planned.get(job.name) != (last, text):
                self._plan(job, last, now)
            if index % 100 == 0:
                await asyncio.sleep(0)

    async def _is_up_to_date(self, connection: AsyncConnection) -> bool:
        return all([await changer.is_up_to_date(connection) for changer in self._changers])

    def _is_others(self, row: slots.ScheduleRow | None) -> bool:
        return row is not None and row.release != self._release()

    async def _restart(
        self, connection: AsyncConnection, jobs: Sequence[JobDefinition], now: datetime
    ) -> None:
        """Start new and changed schedules from now; keep schedules that a newer release has written."""
        await owners.lock_first(connection)
        ranks, release = await releases.release_ranks(connection), self._release()
        known = await slots.load(connection)
        owned = await owners.load(connection)
        await slots.add_new(connection, list(_new_rows(jobs, known, now, release, owned)))
        changed: list[JobDefinition] = []
        unchanged: list[str] = []
        for job in jobs:
            row = known.get(job.name)
            if row is None or ranks.get(row.release or "", LOWEST) > ranks.get(release, LOWEST):
                continue
            if row.renamed_to in job.aliases:  # Aliases moves the old schedule first
                continue
            if not _restarts(job, row, now):
                unchanged += [job.name] if row.release != release else []
                continue
            if row.last_slot is not None and row.last_slot > now + _FAR_AHEAD:
                log.warning("%s was handled up to %s, by a wrong clock", job.name, row.last_slot)
            changed.append(job)
        await slots.lock(connection, [*unchanged, *(job.name for job in changed)])
        for job in changed:
            await slots.restart(connection, job.name, schedule_of(job), _begin(job, now), release)
        await slots.own(connection, unchanged, release)

    async def _create_runs(self, jobs: Sequence[JobDefinition]) -> None:
        """Handle the due slots of jobs in one transaction."""
        now = self._clock.now()
        handled: list[tuple[JobDefinition, datetime]] = []
        due: dict[Owner, list[tuple[JobDefinition, DueSlots]]] = {Owner.NEW: [], Owner.SHADOW: []}
        async with self._store.write() as connection:
            rows = await slots.load(connection, [job.name for job in jobs])
            foreign_owners = await owners.not_ours(connection, rows)
            for job in jobs:
                owner = foreign_owners.get(job.name, Owner.NEW)
                after_runs = isinstance(job.schedule, AfterRunSchedule)
                if owner is Owner.OLD or (owner is Owner.SHADOW and after_runs):
                    self._pass(job, now)  # an after-run schedule has no slots without runs
                    continue
                last = await self._last_slot(connection, job, rows.get(job.name), now)
                if last is None:
                    continue
                if isinstance(job.schedule, AfterRunSchedule):
                    job_slots = await self._due_after_run(connection, job, job.schedule, last, now)
                else:
                    job_slots = due_slots(job, last, now)
                    handled.append((job, last if job_slots is None else job_slots.last))
                due[owner] += [(job, job_slots)] if job_slots is not None else []
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
        """Return the last handled slot of a job; ``None`` if the job has no slot to handle now."""
        if row is None or row.last_slot is None or row.text != schedule_of(job):
            # The row was removed, or another release changed the schedule: the next refresh decides.
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
        """Drop the slots up to now silently. Nothing is written, so a pause costs nothing."""
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
        """Decide about the slot of a job with an after-run schedule, and plan the next check."""
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
        """Compute and store the next slot of a job."""
        self._planned[job.name] = last, schedule_of(job)
        if job.schedule is None or last is None:
            self._agenda.put(job.name, None)
        elif isinstance(job.schedule, AfterRunSchedule):
            self._agenda.put(job.name, now)  # only the database knows when the last run ended
        else:
            self._agenda.put(job.name, job.schedule.next(last, job.timezone))


async def _record(
    connection: AsyncConnection, seen: Sequence[tuple[JobDefinition, DueSlots]]
) -> None:
    """Record the slots of jobs that the old server runs, and advance their schedules."""
    await owners.record(connection, {job.name: (*item.missed, *item.run) for job, item in seen})
    await slots.advance(connection, {job.name: item.last for job, item in seen})


def _with(
    known: Mapping[str, slots.ScheduleRow], jobs: Sequence[JobDefinition]
) -> Iterator[tuple[JobDefinition, slots.ScheduleRow | None]]:
    return ((job, known.get(job.name)) for job in jobs)


def _begin(job: JobDefinition, now: datetime) -> datetime:
    """Return the instant after which a new schedule's slots count.

    A single slot in the past still counts, so that the slot runs or is recorded as missed, and so do slots since :attr:`JobDefinition.since`.
    """
    if job.since is not None and job.since <= now:
        return job.since - timedelta(microseconds=1)
    schedule = job.schedule.base if isinstance(job.schedule, WorkingSchedule) else job.schedule
    if isinstance(schedule, OnceSchedule) and schedule.at <= now:
        return schedule.at - timedelta(microseconds=1)
    return now


def _restarts(job: JobDefinition, row: slots.ScheduleRow | None, now: datetime) -> bool:
    """Return whether a job's schedule starts from now: new job, changed schedule, or a last slot from a wrong clock."""
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
            paused = job.paused and job.name not in owned  # an owner decides who runs it
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
