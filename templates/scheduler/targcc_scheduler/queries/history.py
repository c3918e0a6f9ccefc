"""Reading the history: the last errors, and a job's attempts."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..storage.tables import job_run, logged_job
from .models import Attempt, Run, attempt_of
from .runs import attempts_of_run


async def known_jobs(connection: AsyncConnection) -> list[str]:
    """The names of all jobs that have runs, also of those that are not in the code any more."""
    statement = sa.select(job_run.c.JobName).distinct().order_by(job_run.c.JobName)
    return list((await connection.execute(statement)).scalars())


async def last_errors(connection: AsyncConnection, runs: Iterable[Run]) -> dict[int, Attempt]:
    """The last failed attempt of each of these runs, by run id."""
    errors = {}
    for run in runs:
        failed = [a for a in await attempts_of_run(connection, run) if not a.success]
        if failed:
            errors[run.id] = failed[-1]
    return errors


async def history(
    connection: AsyncConnection, job: str | None = None, limit: int = 50
) -> tuple[Attempt, ...]:
    """The last attempts in c_LoggedJob, of one job or of all, newest first."""
    statement = sa.select(logged_job).order_by(
        logged_job.c.StartedAt.desc(), logged_job.c.ID.desc()
    )
    if job is not None:
        statement = statement.where(logged_job.c.JobName == job)
    return tuple(attempt_of(row) for row in await connection.execute(statement.limit(limit)))
