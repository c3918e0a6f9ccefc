"""The rows of alert rules, and how many alerts went out or were held back."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .tables import job_alert, job_audit


async def alerted_jobs(connection: AsyncConnection) -> frozenset[str]:
    """The jobs that have a row in ``c_JobAlert``."""
    return frozenset(await connection.scalars(sa.select(job_alert.c.JobName)))


async def count_audited(
    connection: AsyncConnection, name: str, action: str, *, since: datetime
) -> int:
    """How many audit rows of one action a job has had since an instant."""
    query = (
        sa.select(sa.func.count())
        .select_from(job_audit)
        .where(job_audit.c.JobName == name, job_audit.c.Action == action, job_audit.c.At > since)
    )
    return int((await connection.execute(query)).scalar_one())


async def count_held_back(connection: AsyncConnection, name: str) -> int:
    """How many alerts of a job were held back since the last one that went out."""
    last = (
        sa.select(sa.func.coalesce(sa.func.max(job_audit.c.Id), 0))
        .where(job_audit.c.JobName == name, job_audit.c.Action == "alert")
        .scalar_subquery()
    )
    query = (
        sa.select(sa.func.count())
        .select_from(job_audit)
        .where(
            job_audit.c.JobName == name,
            job_audit.c.Action == "alert-held-back",
            job_audit.c.Id > last,
        )
    )
    return int((await connection.execute(query)).scalar_one())
