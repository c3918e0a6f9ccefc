"""Read jobs with recent runs, figures and the next start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import languages
from ...core.states import RunState
from ...schedules.intervals import AfterRunSchedule
from ...schedules.zones import parse_zone
from .. import job_owner as owners
from ..job_owner import Owner, Ownership
from ..jobs.definition import JobDefinition
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
    kept = _NEXT_SLOTS.get(definition.name)
    if kept is not None and kept[0] is definition and kept[1] <= after < kept[2]:
        return kept[2]
    if isinstance(definition.schedule, AfterRunSchedule):
        if busy or any(not run.final for run in recent):
            return None  # unknown before that run ends
        last = next((run for run in recent if run.completed_at is not None), None)
        if last is None or last.completed_at is None:
            return after
        started = last.started_at or last.completed_at
        due = definition.schedule.following(started, last.completed_at, definition.timezone)
        return None if due is None else max(due, after)
    slot = definition.schedule.next(after, parse_zone(definition.timezone))
    if slot is not None:
        _NEXT_SLOTS[definition.name] = definition, after, slot
    return slot


_NEXT_SLOTS: dict[str, tuple[JobDefinition, datetime, datetime]] = {}
"""Next slots by job, with the definition and the instant that they were computed from, until they have passed: pages ask for the slots of all jobs
every few seconds."""


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


async def job_entries(
    connection: AsyncConnection, definitions: Iterable[JobDefinition], now: datetime
) -> tuple[JobEntry, ...]:
    """Return jobs without their runs, sorted by display name. The number of statements does not grow with the number of jobs."""
    jobs = sorted(definitions, key=lambda job: job.display_name.casefold())
    paused = await system.pauses(connection, now)
    owned = await owners.load(connection)
    after_runs = [job.name for job in jobs if isinstance(job.schedule, AfterRunSchedule)]
    recent = await runs.recent_outcomes(connection, after_runs, RECENT)
    busy = await slots.busy_runs(connection, after_runs)
    entries = []
    for job in jobs:
        name = job.name
        ownership, pause, at = owned.get(name), paused.get(name), None
        if ownership is None or ownership.owner is Owner.NEW:
            last, is_busy = recent.get(name, ()), bool(busy.get(name))
            at = next_run(job, now=now, pause=pause, recent=last, busy=is_busy)
        is_plain = pause is None and ownership is None
        entry = _ENTRIES.get(name) if is_plain else None
        if entry is None or entry.definition is not job or entry.next_run != at:
            entry = JobEntry(definition=job, pause=pause, next_run=at, ownership=ownership)
            if is_plain:
                _ENTRIES[name] = entry
        entries.append(entry)
    return tuple(entries)


_ENTRIES: dict[str, JobEntry] = {}
"""The last entry of each job that is neither paused nor another scheduler's: of thousands of jobs few have another next start at the next request,
and making the entries took a sixth of a page."""


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
    return await with_runs(connection, await job_entries(connection, definitions, now))


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
