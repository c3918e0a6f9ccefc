"""Read jobs with recent runs, figures and the next start."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import islice, takewhile
from operator import itemgetter
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import languages
from ...core.states import RunState
from ...schedules.intervals import AfterRunSchedule
from ...schedules.zones import parse_zone
from .. import job_owner as owners
from ..job_owner import Owner, Ownership
from ..jobs.definition import JobDefinition, are_same
from ..node import slots
from . import runs, system
from .models import Pause, RecentRun, RunInState, StateAndTimes
from .sharing import Shared

# A job's next start.


def next_run(
    definition: JobDefinition,
    *,
    now: datetime,
    pause: Pause | None,
    recent: Iterable[StateAndTimes] = (),
    busy: bool = False,
) -> datetime | None:
    """Return the instant at which a job's schedule starts the next run.

    Args:
        definition: The job.
        now: The present instant.
        pause: The job's pause, if paused.
        recent: The job's last runs, newest first; needed by a schedule that counts from the last run.
        busy: Whether a run is active; a schedule that counts from the last run waits for its end.

    Returns:
        The instant; ``None`` for a job without a schedule, after the last slot, during a pause without an end, or while a schedule that
        counts from the last run waits for that run.
    """
    if definition.schedule is None or (pause is not None and pause.until is None):
        return None
    after = max(now, pause.until) if pause is not None and pause.until is not None else now
    if isinstance(definition.schedule, AfterRunSchedule):
        if busy or any(not run.final for run in recent):
            return None  # unknown before that run ends
        last = next((run for run in recent if run.completed_at is not None), None)
        if last is None or last.completed_at is None:
            return after
        started = last.started_at or last.completed_at
        due = definition.schedule.following(started, last.completed_at, definition.timezone)
        return None if due is None else max(due, after)
    return definition.schedule.next(after, parse_zone(definition.timezone))


def schedule_words(definition: JobDefinition) -> str:
    """Describe when a job runs, in the reader's language; omit the names of followed jobs, which may be hidden from the reader."""
    if definition.schedule is not None:
        return _words_of(definition, languages.reader().catalogue.language)
    if not definition.after:
        return languages.gettext("on request")
    if len(definition.after) == 1:
        return languages.gettext("after another job")
    return languages.gettext("after other jobs")


@lru_cache(maxsize=65_536)
def _words_of(definition: JobDefinition, _language: str) -> str:
    """Describe a job's schedule in the reader's language. Cached, because a page of many jobs describes hundreds."""
    assert definition.schedule is not None
    return definition.schedule.describe(languages)


# Jobs with recent runs.

RECENT = 24
"""The runs per job that are read and shown as a sparkline."""

_DECIDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.MISSED, RunState.CANCELLED})
BAD = frozenset({RunState.FAILED, RunState.MISSED})


@dataclass(frozen=True, kw_only=True)
class JobEntry:
    """A job's definition with its pause, owner and next start; its runs are asked for separately.

    Args:
        definition: The job.
        pause: The job's pause, if paused.
        next_run: The instant when the next run starts, if known.
        ownership: The scheduler that runs the job, during a migration from the old server.
    """

    definition: JobDefinition
    pause: Pause | None
    next_run: datetime | None
    ownership: Ownership | None = None

    @property
    def words(self) -> str:
        """The schedule in words, in the reader's language."""
        return schedule_words(self.definition)

    @property
    def owner(self) -> Owner:
        """The scheduler that runs the job."""
        return self.ownership.owner if self.ownership is not None else Owner.NEW

    @property
    def elsewhere(self) -> Ownership | None:
        """The record that another scheduler, the old server, owns the job; ``None`` if this scheduler runs the job."""
        return self.ownership if self.owner is not Owner.NEW else None

    @property
    def name(self) -> str:
        """The job's stable key."""
        return self.definition.name


R = TypeVar("R", bound=RunInState | RecentRun)
J = TypeVar("J")


@dataclass(frozen=True, kw_only=True)
class JobWithRuns(JobEntry, Generic[R]):
    """A job with its recent runs, newest first.

    Args:
        recent: The newest runs, at most :data:`RECENT`, newest first.
        older: Runs with an outcome from before ``recent``, newest first; filled if ``recent`` contains runs without an outcome.
    """

    recent: tuple[R, ...]
    older: tuple[R, ...] = ()

    @cached_property
    def outcomes(self) -> tuple[R, ...]:
        """The newest runs that succeeded, failed, were missed or were cancelled. Active and waiting runs and skipped slots have no outcome."""
        every = (*(run for run in self.recent if run.state in _DECIDED), *self.older)
        return every[:RECENT]

    @property
    def last(self) -> R | None:
        """The newest run with an outcome."""
        return next(iter(self.outcomes), None)

    @property
    def active(self) -> tuple[R, ...]:
        """The recent runs that are running or wait for a retry."""
        states = {RunState.RUNNING, RunState.RETRYING}
        return tuple(run for run in self.recent if run.state in states)

    @property
    def success_rate(self) -> float | None:
        """The success rate among the newest outcomes, from 0 to 1, without cancelled runs; ``None`` without outcomes."""
        outcomes = [run.state for run in self.outcomes if run.state is not RunState.CANCELLED]
        return outcomes.count(RunState.SUCCEEDED) / len(outcomes) if outcomes else None

    @property
    def failing_runs(self) -> int:
        """The number of consecutive failures and missed slots up to now."""
        count = 0
        for run in self.outcomes:
            if run.state not in BAD:
                break
            count += 1
        return count


def _has_recovered(outcomes: Sequence[RunInState]) -> bool:
    """Return whether a run succeeded after the last failure or missed slot."""
    successes = (run for run in outcomes if run.state is RunState.SUCCEEDED)
    failures = [run.happened_at for run in outcomes if run.state in BAD]
    if not failures:
        return any(successes)
    last = max(failures)  # few times are read: a page asks this of thousands of jobs
    return any(run.happened_at > last for run in successes)


@dataclass(frozen=True, kw_only=True)
class JobStates(JobWithRuns[RunInState]):
    """A job with the states of its recent runs: enough for a list or a filter of all jobs, and read in a fraction of the time."""


@dataclass(frozen=True, kw_only=True)
class JobOverview(JobWithRuns[RecentRun]):
    """A job with its recent runs and their times, newest first."""

    @property
    def usual_duration(self) -> timedelta | None:
        """The median duration among recent successful runs; ``None`` without such runs."""
        times = sorted(
            run.duration
            for run in self.outcomes
            if run.state is RunState.SUCCEEDED and run.duration is not None
        )
        return times[len(times) // 2] if times else None


class _Schedules:
    """Next slots of a list of jobs by their schedules alone, kept from request to request: of thousands of jobs few have another one at the next.

    Args:
        definitions: The jobs.
        now: The present instant.
    """

    def __init__(self, definitions: Sequence[JobDefinition], now: datetime) -> None:
        self.definitions = definitions
        self.jobs = sorted(definitions, key=lambda job: job.display_name.casefold())
        self.places = {job.name: place for place, job in enumerate(self.jobs)}
        self.after_runs = [
            job.name for job in self.jobs if isinstance(job.schedule, AfterRunSchedule)
        ]
        self._begin(now)

    def _begin(self, now: datetime) -> None:
        self._now = now
        self.entries = [self._entry(job, now) for job in self.jobs]
        starts = ((entry.next_run, entry.name) for entry in self.entries)
        self.starts = sorted((at, name) for at, name in starts if at is not None)
        """The next slots, by time."""
        self._slots: tuple[Hashable, list[datetime]] = None, []

    @staticmethod
    def _entry(job: JobDefinition, now: datetime) -> JobEntry:
        counts_from_runs = isinstance(job.schedule, AfterRunSchedule)
        at = None if counts_from_runs else next_run(job, now=now, pause=None)
        return JobEntry(definition=job, pause=None, next_run=at)

    def move(self, now: datetime) -> None:
        """Compute the slots after those that have passed."""
        if now < self._now:
            self._begin(now)
        self._now = now
        passed = self.starts[: bisect_right(self.starts, now, key=itemgetter(0))]
        del self.starts[: len(passed)]
        for _, name in passed:
            place = self.places[name]
            entry = self.entries[place] = self._entry(self.jobs[place], now)
            if entry.next_run is not None:
                insort(self.starts, (entry.next_run, name))

    def slots(self, hour: datetime, span: timedelta, without: frozenset[str]) -> list[datetime]:
        """Return the slots of an hour and what follows, in order; computed once an hour, as the page reloads every few seconds."""
        key = hour, span, without
        if self._slots[0] != key:
            jobs = (job for job in self.jobs if job.name not in without)
            self._slots = key, sorted(slot for job in jobs for slot in _slots(job, hour, span))
        return self._slots[1]


_MOST_PER_JOB = 500
"""Limit of slots of a job on the time line: more than it can show."""


def _slots(definition: JobDefinition, start: datetime, span: timedelta) -> Iterator[datetime]:
    if definition.schedule is None or isinstance(definition.schedule, AfterRunSchedule):
        return iter(())
    slots = definition.schedule.iter(start, parse_zone(definition.timezone))
    within = takewhile(lambda slot: slot < start + span, slots)
    return islice(within, _MOST_PER_JOB)


_SCHEDULES: WeakKeyDictionary[sa.Engine, deque[_Schedules]] = WeakKeyDictionary()
_MOST_LISTS = 16
"""Number of lists of jobs, such as those of users who see some jobs, whose next slots are kept for each database."""


def _schedules(
    connection: AsyncConnection, definitions: Iterable[JobDefinition], now: datetime
) -> _Schedules:
    lists = _SCHEDULES.setdefault(connection.sync_engine, deque(maxlen=_MOST_LISTS))
    given = list(definitions)
    for kept in lists:
        if are_same(kept.definitions, given):
            lists.remove(kept)
            break
    else:
        kept = _Schedules(given, now)
    lists.appendleft(kept)
    kept.move(now)
    return kept


@dataclass(frozen=True, slots=True)
class JobEntries:
    """Jobs without their runs, with their next starts.

    Args:
        jobs: The jobs, sorted by display name.
        starts: The known next starts, by time, with the name of each job.
    """

    jobs: tuple[JobEntry, ...]
    starts: Sequence[tuple[datetime, str]]
    _schedules: _Schedules
    _moved: Mapping[str, JobEntry]
    """The jobs with another next start than the next slot of their schedule."""

    def slots(self, now: datetime, horizon: datetime) -> list[datetime]:
        """Return the jobs' slots after ``now`` and before ``horizon``."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        span = horizon - now + timedelta(hours=1)
        slots = self._schedules.slots(hour, span, frozenset(self._moved))
        slots = slots[bisect_right(slots, now) : bisect_left(slots, horizon)]
        for entry in self._moved.values():
            first = entry.next_run
            if first is not None:
                slots += (
                    at for at in _slots(entry.definition, hour, span) if first <= at < horizon
                )
        return slots


async def job_entries(
    connection: AsyncConnection, definitions: Iterable[JobDefinition], now: datetime
) -> JobEntries:
    """Return jobs without their runs. The number of statements does not grow with the number of jobs."""
    schedules = _schedules(connection, definitions, now)
    paused = await system.pauses(connection, now)
    owned = await owners.load(connection)
    recent = await runs.recent_outcomes(connection, schedules.after_runs, RECENT)
    busy = await slots.busy_runs(connection, schedules.after_runs)
    jobs, moved = schedules.entries.copy(), {}
    for name in {*paused, *owned, *schedules.after_runs} & schedules.places.keys():
        place = schedules.places[name]
        entry, ownership, pause = jobs[place], owned.get(name), paused.get(name)
        at = entry.next_run
        if ownership is not None and ownership.owner is not Owner.NEW:
            at = None
        elif pause is not None or isinstance(entry.definition.schedule, AfterRunSchedule):
            last, is_busy = recent.get(name, ()), bool(busy.get(name))
            at = next_run(entry.definition, now=now, pause=pause, recent=last, busy=is_busy)
        jobs[place] = JobEntry(
            definition=entry.definition, pause=pause, next_run=at, ownership=ownership
        )
        if at != entry.next_run:
            moved[name] = jobs[place]
    starts = schedules.starts
    if moved:
        others = ((entry.next_run, name) for name, entry in moved.items())
        starts = [start for start in starts if start[1] not in moved]
        starts = sorted([*starts, *((at, name) for at, name in others if at is not None)])
    return JobEntries(tuple(jobs), starts, schedules, moved)


async def with_runs(
    connection: AsyncConnection, entries: Iterable[JobEntry], each: int = RECENT
) -> tuple[JobOverview, ...]:
    """Read the last ``each`` runs of jobs, at most :data:`RECENT`, in a few statements for all of them."""
    jobs = list(entries)
    recent = await runs.recent_outcomes(connection, [job.name for job in jobs], each)
    states = await _older_outcomes(connection, recent, each)
    ids = {run.id for older in states.values() for run in older}
    older: dict[str, list[RecentRun]] = {name: [] for name in states}
    for run in await runs.outcomes(connection, ids):
        older[run.job].append(run)
    return tuple(
        _joined(JobOverview, job, recent[job.name], tuple(older.get(job.name, ()))) for job in jobs
    )


async def with_states(
    connection: AsyncConnection, entries: Iterable[JobEntry]
) -> tuple[JobStates, ...]:
    """Read the states of the recent runs of jobs, in two statements for all of them."""
    jobs = list(entries)
    recent = await runs.newest_states(connection, [job.name for job in jobs], RECENT)
    older = await _older_outcomes(connection, recent, RECENT)
    return tuple(_joined(JobStates, job, recent[job.name], older.get(job.name, ())) for job in jobs)


def _joined(
    make: Callable[..., J], job: JobEntry, recent: Sequence[Any], older: Sequence[Any]
) -> J:
    """Add runs to a job."""
    return make(
        definition=job.definition,
        pause=job.pause,
        next_run=job.next_run,
        ownership=job.ownership,
        recent=recent,
        older=older,
    )


_FAILING = Shared[tuple[int, set[str]]](lambda found: found[0] * 50)
"""Of how many jobs the newest runs were read, and those that fail. An index search for a job costs as much as counting some 50 runs."""


async def failing_jobs(
    connection: AsyncConnection, names: Collection[str], now: datetime
) -> set[str]:
    """Return the jobs whose last outcome is a failure or a missed slot; requests share the answer about more than 1,000 jobs for some seconds."""

    async def read() -> tuple[int, set[str]]:
        return len(names), await _failing(connection, names)

    return (await _FAILING.get(connection, frozenset(names), now, read))[1]


async def _failing(connection: AsyncConnection, names: Iterable[str]) -> set[str]:
    """Read the newest run of each job, and few others."""
    newest = await runs.newest_states(connection, names, 1)
    undecided = {
        job: run.id for job, [run] in _nonempty(newest).items() if run.state not in _DECIDED
    }
    older = await runs.newest_states(connection, undecided, 1, *sorted(_DECIDED))
    last = _nonempty(newest | older)
    return {job for job, outcomes in last.items() if outcomes[0].state in BAD}


async def recovered_jobs(connection: AsyncConnection, names: Iterable[str]) -> set[str]:
    """Return the jobs with a run that succeeded after the last failure or missed slot; read the newest run of each job in each of these states."""
    outcomes = await runs.newest_states(connection, names, 1, RunState.SUCCEEDED, *sorted(BAD))
    return {job for job, newest in outcomes.items() if _has_recovered(newest)}


def _nonempty(newest: Mapping[str, tuple[RunInState, ...]]) -> dict[str, tuple[RunInState, ...]]:
    return {job: states for job, states in newest.items() if states}


async def job_overviews(
    connection: AsyncConnection, definitions: Iterable[JobDefinition], now: datetime
) -> tuple[JobOverview, ...]:
    """Return jobs with recent runs, sorted by display name."""
    entries = await job_entries(connection, definitions, now)
    return await with_runs(connection, entries.jobs)


async def _older_outcomes(
    connection: AsyncConnection, recent: Mapping[str, Sequence[R]], each: int
) -> dict[str, tuple[RunInState, ...]]:
    """Read older outcomes for jobs whose recent runs include waiting, running or skipped runs; one index range per state."""
    missing = {
        name: count
        for name, newest in recent.items()
        if len(newest) == each and (count := sum(run.state not in _DECIDED for run in newest))
    }
    below = {name: recent[name][-1].id for name in missing}
    most = max(missing.values(), default=0)
    older = await runs.newest_states(connection, below, most, *sorted(_DECIDED))
    return {name: older[name][:count] for name, count in missing.items()}


def open_arguments(definitions: Iterable[JobDefinition]) -> frozenset[str]:
    """Return the jobs without secret arguments, by key; their arguments may be searched."""
    return frozenset(job.name for job in definitions if not job.signature.secrets)


def display_names(definitions: Mapping[str, JobDefinition]) -> Callable[[str], str]:
    """Return a function from a job's key to its display name; for an unknown job, the function returns the key."""

    def display(name: str) -> str:
        definition = definitions.get(name)
        return definition.display_name if definition is not None else name

    return display
