"""Overview of the system: every job with its recent runs, the running runs, and the next slots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import ACTIVE, RunState
from ...db.tables import job_run
from .. import job_owner as owners
from .. import statistics
from ..job_owner import Ownership
from ..jobs.definition import JobDefinition
from ..runs.values import quarter_of
from . import runs, system
from .chains import Chain, chains
from .jobs import BAD, JobEntry, JobOverview, job_entries, recovered_jobs, with_runs
from .models import Run, Server
from .sharing import Shared
from .statistics import EndedRuns, ended_runs
from .upcoming import Upcoming, upcoming

MOST_ON_BOARD = 120
"""The page shows the recent runs of all jobs outside chains, up to this number of jobs."""
SOME_ON_BOARD = 48
"""Number of jobs whose recent runs it shows, the first by name, where there are more."""
RUNS_ON_BOARD = 16
"""Recent runs of each of them; ``overview.html`` draws as many."""
_LATELY = Shared[tuple[EndedRuns, set[str]]](lambda lately: lately[0].total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Overview page data.

    Args:
        jobs: All jobs, without their runs.
        board: The jobs outside any chain, with their recent runs: all up to :data:`MOST_ON_BOARD`, else the first :data:`SOME_ON_BOARD`.
        usual: The median duration of the running jobs' recent runs, by job.
        has_run: Whether any run is stored.
        chains: The chains of jobs, with their states.
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
    jobs: tuple[JobEntry, ...]
    board: tuple[JobOverview, ...]
    usual: Mapping[str, timedelta | None]
    has_run: bool
    chains: tuple[Chain, ...] = ()
    recovered: tuple[JobEntry, ...]
    window: EndedRuns
    running: tuple[Run, ...]
    upcoming: tuple[Upcoming, ...]
    slots: Sequence[datetime]
    servers: tuple[Server, ...]
    unknown: Mapping[str, int]
    unfinished: tuple[Ownership, ...]
    still_counting: int

    @property
    def unlisted(self) -> int:
        """Return the number of jobs that are neither on the board nor in a chain."""
        chained = {name for chain in self.chains for name in chain.jobs}
        return len(self.jobs) - len(self.board) - len(chained)

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
    back: timedelta = timedelta(hours=24),
    ahead: timedelta = timedelta(hours=6),
) -> Overview:
    """Read the overview page data in about a dozen queries; the cost does not grow with the number of runs.

    Recent runs are read of the jobs on the board and of running jobs, and the newest run in each of three states of jobs that failed in the window.
    """
    definitions = list(definitions)
    entries = await job_entries(connection, definitions, now)
    jobs = entries.jobs
    since, horizon = now - back, now + ahead
    window, succeeded_since = await _lately(connection, since, now)
    recovered = succeeded_since - await _with_reruns(connection)
    waiting = await runs.waiting_runs(connection)
    running = await runs.running_runs(connection)
    chained = await chains(connection, definitions)
    in_chains = {name for chain in chained for name in chain.jobs}
    names = (job.definition.name for job in jobs)  # the property is a call, for each of thousands
    board = [name for name in names if name not in in_chains]
    if len(board) > MOST_ON_BOARD:
        board = board[:SOME_ON_BOARD]
    shown = {*board, *(run.job for run in running)}
    on_page = (job for job in jobs if job.definition.name in shown)
    read = {job.name: job for job in await with_runs(connection, on_page, RUNS_ON_BOARD)}
    return Overview(
        now=now,
        since=since,
        horizon=horizon,
        jobs=jobs,
        board=tuple(read[name] for name in board),
        usual={run.job: read[run.job].usual_duration for run in running if run.job in read},
        has_run=await runs.are_any(connection),
        chains=chained,
        recovered=tuple(job for job in jobs if job.definition.name in recovered),
        window=window,
        running=running,
        upcoming=upcoming(entries.starts, waiting, now),
        slots=entries.slots(now, horizon),
        servers=await system.read_servers(connection),
        unknown=await system.count_unknown(connection),
        unfinished=tuple(await owners.unfinished(connection, now)),
        still_counting=await statistics.left(connection),
    )


async def _lately(
    connection: AsyncConnection, since: datetime, now: datetime
) -> tuple[EndedRuns, set[str]]:
    """Return the counts of the window, and the jobs that failed or were missed in it and have succeeded since; see :class:`~.sharing.Shared`."""

    async def read() -> tuple[EndedRuns, set[str]]:
        window = await ended_runs(connection, since, now)
        return window, await recovered_jobs(connection, window.jobs(*BAD))

    return await _LATELY.get(connection, quarter_of(since), now, read)


async def _with_reruns(connection: AsyncConnection) -> frozenset[str]:
    """Return the jobs with reruns that wait or run."""
    c = job_run.c
    reruns = sa.select(c.JobName).where(c.RetryOf.is_not(None), c.State.in_(sorted(ACTIVE)))
    return frozenset(await connection.scalars(reruns.distinct()))
