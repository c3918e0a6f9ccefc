"""Overview page data: every job with its recent runs, and issues that need a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...kernel import job_owner as owners
from ...kernel import statistics
from ...kernel.job_owner import Ownership
from ...kernel.jobs.definition import JobDefinition
from ...kernel.queries import runs, system
from ...kernel.queries.chains import Chain, chains
from ...kernel.queries.jobs import BAD, JobOverview, job_overviews
from ...kernel.queries.models import AuditEntry, Run, Server
from ...kernel.queries.statistics import EndedRuns, ended_runs
from ..audit import queries as audit_queries
from ..timeline.upcoming import Upcoming, coming_slots, upcoming
from .inbox import jobs_in_hand
from .issues import Issue, issues

_COMING_AND_GOING = ("sign in", "sign out", "sign-in refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Overview page data.

    Args:
        jobs: All jobs.
        chains: The chains of jobs, with their states.
        concerns: The current issues, worst first.
        recovered: The jobs that failed or were missed in the window, have succeeded since, and have no rerun that waits or runs.
        window: Number of runs that ended in the window, by state.
        slots: All slots up to ``horizon``, for the time line.
        servers: The nodes.
        unknown: Number of runs that wait for a node with the job, by job.
        unfinished: Jobs with an unfinished switch between the old server and this scheduler.
        still_counting: Approximate number of rows from an earlier release that the window's counts may still lack.
    """

    now: datetime
    since: datetime
    horizon: datetime
    jobs: tuple[JobOverview, ...]
    chains: tuple[Chain, ...] = ()
    concerns: tuple[Issue, ...]
    recovered: tuple[JobOverview, ...]
    window: EndedRuns
    running: tuple[Run, ...]
    upcoming: tuple[Upcoming, ...]
    slots: tuple[datetime, ...]
    audit: tuple[AuditEntry, ...]
    servers: tuple[Server, ...]
    unknown: Mapping[str, int]
    unfinished: tuple[Ownership, ...]
    still_counting: int

    @property
    def apart(self) -> tuple[JobOverview, ...]:
        """Return the jobs outside any chain."""
        chained = {name for chain in self.chains for name in chain.jobs}
        return tuple(job for job in self.jobs if job.name not in chained)

    @property
    def has_recovered(self) -> bool:
        """Return whether each job that failed or was missed in the window has recovered."""
        return self.window.jobs(*BAD) <= {job.name for job in self.recovered}

    def count(self, *states: RunState) -> int:
        """Count the runs that ended in the window in any of these states."""
        return self.window.count(*states)


async def overview(
    connection: AsyncConnection,
    definitions: Iterable[JobDefinition],
    now: datetime,
    *,
    lost_after: float = 20,
    back: timedelta = timedelta(hours=24),
    ahead: timedelta = timedelta(hours=6),
) -> Overview:
    """Read the overview page data in about a dozen queries; the cost does not grow with the number of runs."""
    definitions = list(definitions)
    jobs = await job_overviews(connection, definitions, now)
    since, horizon = now - back, now + ahead
    window = await ended_runs(connection, since, now)
    failed = window.jobs(*BAD) - (await jobs_in_hand(connection))
    waiting = await runs.waiting_runs(connection)
    return Overview(
        now=now,
        since=since,
        horizon=horizon,
        jobs=jobs,
        chains=await chains(connection, definitions),
        concerns=await issues(connection, definitions, now, lost_after=lost_after),
        recovered=tuple(job for job in jobs if job.name in failed and job.recovered),
        window=window,
        running=await runs.running_runs(connection),
        upcoming=upcoming(jobs, waiting, now),
        slots=tuple(coming_slots(jobs, now, horizon)),
        audit=await audit_queries.latest(connection, limit=6, without=_COMING_AND_GOING),
        servers=await system.read_servers(connection),
        unknown=await system.count_unknown(connection),
        unfinished=tuple(await owners.unfinished(connection, now)),
        still_counting=await statistics.left(connection),
    )
