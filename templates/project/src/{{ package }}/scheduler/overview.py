# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What the operator sees at eight in the morning: every job with its last runs, and what needs a person."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from . import project, queries
from .cron import AfterCompletionSchedule, parse_zone
from .job import JobDefinition
from .records import Attempt, AuditEntry, Pause, Run, Server
from .states import RunState

RECENT = 24
"""How many runs of each job are looked at, and shown as a spark."""

_DECIDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.MISSED, RunState.CANCELLED})
_COMING_AND_GOING = ("sign in", "sign out", "sign-in refused")
_BAD = frozenset({RunState.FAILED, RunState.MISSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOverview:
    """A job and how it stands. ``recent`` are its last runs, newest first."""

    definition: JobDefinition
    words: str
    pause: Pause | None
    next_run: datetime | None
    recent: tuple[Run, ...]

    @property
    def name(self) -> str:
        """Its stable key."""
        return self.definition.name

    @property
    def last(self) -> Run | None:
        """The newest run that has an outcome; skipped slots are none."""
        return next((run for run in self.recent if run.state in _DECIDED), None)

    @property
    def active(self) -> tuple[Run, ...]:
        """Its runs that are running or wait for another attempt."""
        states = {RunState.RUNNING, RunState.RETRYING}
        return tuple(run for run in self.recent if run.state in states)

    @property
    def success_rate(self) -> float | None:
        """The share of its recent runs that succeeded, of those that succeeded, failed or were missed."""
        outcomes = [run.state for run in self.recent if run.state in _BAD | {RunState.SUCCEEDED}]
        return outcomes.count(RunState.SUCCEEDED) / len(outcomes) if outcomes else None

    @property
    def usual_duration(self) -> timedelta | None:
        """The median of its recent successful runs."""
        times = sorted(
            run.duration
            for run in self.recent
            if run.state is RunState.SUCCEEDED and run.duration is not None
        )
        return times[len(times) // 2] if times else None

    @property
    def in_trouble(self) -> bool:
        """Whether its last outcome was bad and nobody has made it good since."""
        return self.last is not None and self.last.state in _BAD

    @property
    def failing_runs(self) -> int:
        """How many bad outcomes in a row it has had up to now."""
        count = 0
        for run in self.recent:
            if run.state in _BAD:
                count += 1
            elif run.state in _DECIDED:
                break
        return count


@dataclass(frozen=True, slots=True)
class Trouble:
    """A job that needs a person: its last outcome was bad."""

    job: JobOverview
    run: Run
    error: Attempt | None


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A run that will start by itself, or a slot that will make one."""

    at: datetime
    job: str
    run: Run | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The first page.

    Args:
        jobs: Every job there is.
        troubles: Those whose last outcome was bad, the newest first.
        recovered: Those with a failure in the window that are well again.
        window: Job, state and time of every run in the window.
        slots: Every slot up to ``horizon``, for the time line.
        servers: The nodes.
    """

    now: datetime
    since: datetime
    horizon: datetime
    jobs: tuple[JobOverview, ...]
    troubles: tuple[Trouble, ...]
    recovered: tuple[JobOverview, ...]
    window: Sequence[tuple[str, RunState, datetime]]
    running: tuple[Run, ...]
    upcoming: tuple[Upcoming, ...]
    slots: tuple[datetime, ...]
    audit: tuple[AuditEntry, ...]
    servers: tuple[Server, ...]

    def count(self, *states: RunState) -> int:
        """How many runs of the window stand in these states."""
        return sum(state in states for _, state, _ in self.window)

    @property
    def lost_names(self) -> list[str]:
        """Jobs that failed or were missed in the window and are not in the code: renamed perhaps, with runs still waiting."""
        known = {job.name for job in self.jobs}
        return sorted({name for name, state, _ in self.window if state in _BAD} - known)


def next_run(
    definition: JobDefinition, *, now: datetime, pause: Pause | None, recent: Iterable[Run] = ()
) -> datetime | None:
    """When ``definition`` runs next by its schedule; ``None`` if it has none, has ended, or is paused with no end in sight.

    Args:
        definition: The job.
        now: The instant it is.
        pause: Whether it is paused.
        recent: Its last runs, newest first; a schedule that counts from the end of the last run needs them.
    """
    if definition.schedule is None or (pause is not None and pause.until is None):
        return None
    after = max(now, pause.until) if pause is not None and pause.until is not None else now
    if isinstance(definition.schedule, AfterCompletionSchedule):
        ended = next((run.completed_at for run in recent if run.completed_at is not None), None)
        if any(not run.final for run in recent):
            return None  # it is known when this one ends
        return max(ended + definition.schedule.delay, after) if ended else after
    return definition.schedule.next(after, parse_zone(definition.timezone))


def schedule_words(definition: JobDefinition) -> str:
    """When a job runs, in words."""
    if definition.schedule is None:
        return "only when asked"
    return definition.schedule.describe()


async def job_overviews(
    connection: AsyncConnection, definitions: Iterable[JobDefinition], now: datetime
) -> tuple[JobOverview, ...]:
    """How each of these jobs stands, in the order of their display names."""
    jobs = sorted(definitions, key=lambda job: job.display_name.casefold())
    paused = await queries.pauses(connection, now)
    recent = await queries.recent_runs(connection, [job.name for job in jobs], RECENT)
    return tuple(
        JobOverview(
            definition=job,
            words=schedule_words(job),
            pause=paused.get(job.name),
            next_run=next_run(job, now=now, pause=paused.get(job.name), recent=recent[job.name]),
            recent=recent[job.name],
        )
        for job in jobs
    )


async def overview(
    connection: AsyncConnection,
    definitions: Iterable[JobDefinition],
    now: datetime,
    *,
    back: timedelta = timedelta(hours=24),
    ahead: timedelta = timedelta(hours=6),
) -> Overview:
    """All of the first page in a handful of reads."""
    jobs = await job_overviews(connection, definitions, now)
    since, horizon = now - back, now + ahead
    window = await queries.runs_between(connection, since, now + timedelta(seconds=1))
    failed = {job for job, state, _ in window if state in _BAD}
    bad = [job for job in jobs if job.in_trouble]
    errors = await queries.last_errors(connection, [run for job in bad if (run := job.last)])
    troubles = [Trouble(job, run, errors.get(run.id)) for job in bad if (run := job.last)]
    waiting = await queries.waiting_runs(connection)
    return Overview(
        now=now,
        since=since,
        horizon=horizon,
        jobs=jobs,
        troubles=tuple(sorted(troubles, key=lambda one: one.run.happened_at, reverse=True)),
        recovered=tuple(job for job in jobs if job.name in failed and not job.in_trouble),
        window=window,
        running=await queries.running_runs(connection),
        upcoming=_upcoming(jobs, waiting, now),
        slots=tuple(_slots(jobs, now, horizon)),
        audit=await queries.audit(connection, limit=6, without=_COMING_AND_GOING),
        servers=await queries.servers(connection),
    )


def _upcoming(
    jobs: Iterable[JobOverview], waiting: Iterable[Run], now: datetime
) -> tuple[Upcoming, ...]:
    """What starts next: runs that wait for a worker, their time or another attempt, and the next slot of each job."""
    due = [Upcoming(max(run.due_at, now), run.job, run) for run in waiting]
    slots = [Upcoming(job.next_run, job.name, None) for job in jobs if job.next_run is not None]
    return tuple(sorted([*due, *slots], key=lambda one: (one.at, one.job)))


def _slots(jobs: Iterable[JobOverview], now: datetime, horizon: datetime) -> Iterator[datetime]:
    """The slots to come."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    for job in jobs:
        if job.next_run is not None and job.definition.schedule is not None:
            first = max(now, job.next_run)
            for slot in _slots_from(job.definition, hour, horizon - now + timedelta(hours=1)):
                if first <= slot < horizon:
                    yield slot


@functools.lru_cache(maxsize=4096)
def _slots_from(
    definition: JobDefinition, start: datetime, span: timedelta
) -> tuple[datetime, ...]:
    """The slots of a job within ``span``, at most 500: more than the time line can show. Found once an hour, not with each look."""
    if definition.schedule is None or isinstance(definition.schedule, AfterCompletionSchedule):
        return ()
    slots = definition.schedule.iter(start, parse_zone(definition.timezone))
    within = itertools.takewhile(lambda slot: slot < start + span, slots)
    return tuple(itertools.islice(within, 500))


def next_runs(job: JobOverview, count: int) -> list[datetime]:
    """The next runs of a job by its schedule, at most ``count``."""
    if job.next_run is None or job.definition.schedule is None:
        return []
    zone = parse_zone(job.definition.timezone)
    found = [job.next_run]
    while len(found) < count:
        following = job.definition.schedule.next(found[-1], zone)
        if following is None:
            break
        found.append(following)
    return found


def open_arguments(definitions: Iterable[JobDefinition]) -> frozenset[str]:
    """The jobs whose arguments hold no secret, so that they may be searched."""
    return frozenset(job.name for job in definitions if not job.signature.secrets)


def queue_names(definitions: Iterable[JobDefinition]) -> list[str]:
    """The project's queues, and those that only a job names."""
    return list(dict.fromkeys([*project.QUEUES, *sorted(job.queue for job in definitions)]))


def display_names(definitions: Mapping[str, JobDefinition]) -> Callable[[str], str]:
    """A function that gives a job's display name, or its key when it is no longer in the code."""

    def display(name: str) -> str:
        definition = definitions.get(name)
        return definition.display_name if definition is not None else name

    return display
