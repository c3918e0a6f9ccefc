"""Data of the overview page: every job with its recent runs, and the jobs that need attention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import RunState
from ..jobs.definition import JobDefinition
from . import history, runs, system
from .jobs import BAD, JobOverview, job_overviews
from .models import Attempt, AuditEntry, Run, Server
from .upcoming import Upcoming, coming_slots, upcoming

_COMING_AND_GOING = ("sign in", "sign out", "sign-in refused")


@dataclass(frozen=True, slots=True)
class Attention:
    """A job that needs attention: its last run failed or was missed."""

    job: JobOverview
    run: Run
    error: Attempt | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The overview page.

    Args:
        jobs: Every job there is.
        attention: Those whose last outcome was bad, the newest first.
        recovered: Those that failed or were missed in the window, and have succeeded since.
        window: Job, state and time of every run in the window.
        slots: Every slot up to ``horizon``, for the time line.
        servers: The nodes.
    """

    now: datetime
    since: datetime
    horizon: datetime
    jobs: tuple[JobOverview, ...]
    attention: tuple[Attention, ...]
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
    def unknown_jobs(self) -> list[str]:
        """Names of runs that failed or were missed in the window and that no job in the code has, perhaps since it was renamed."""
        known = {job.name for job in self.jobs}
        return sorted({name for name, state, _ in self.window if state in BAD} - known)


async def overview(
    connection: AsyncConnection,
    definitions: Iterable[JobDefinition],
    now: datetime,
    *,
    back: timedelta = timedelta(hours=24),
    ahead: timedelta = timedelta(hours=6),
) -> Overview:
    """The data of the overview page, in about eight queries."""
    jobs = await job_overviews(connection, definitions, now)
    since, horizon = now - back, now + ahead
    window = await runs.runs_between(connection, since, now + timedelta(seconds=1))
    failed = {job for job, state, _ in window if state in BAD}
    bad = [job for job in jobs if job.needs_attention]
    errors = await history.last_errors(connection, [run for job in bad if (run := job.last)])
    attention = [Attention(job, run, errors.get(run.id)) for job in bad if (run := job.last)]
    waiting = await runs.waiting_runs(connection)
    return Overview(
        now=now,
        since=since,
        horizon=horizon,
        jobs=jobs,
        attention=tuple(sorted(attention, key=lambda one: one.run.happened_at, reverse=True)),
        recovered=tuple(job for job in jobs if job.name in failed and not job.needs_attention),
        window=window,
        running=await runs.running_runs(connection),
        upcoming=upcoming(jobs, waiting, now),
        slots=tuple(coming_slots(jobs, now, horizon)),
        audit=await system.audit(connection, limit=6, without=_COMING_AND_GOING),
        servers=await system.servers(connection),
    )
