"""Retention: what is removed after some time, and what stays."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import FINAL
from .runs.operate import delete_rows
from .tables import job_audit, job_run, logged_job

BATCH = 500
"""Rows removed in one transaction, so that nobody waits long for the database."""


async def prune_runs(connection: AsyncConnection, before: datetime, keep_last: int) -> int:
    """Remove up to a batch of runs that ended before an instant; the newest of each job stay. Returns how many."""
    old = await connection.scalars(
        _old(job_run, job_run.c.Id, job_run.c.CompletedAt, before, keep_last)
    )
    ids: list[int] = list(old)
    if ids:
        await delete_rows(connection, ids)
    return len(ids)


async def prune_history(connection: AsyncConnection, before: datetime, keep_last: int) -> int:
    """Remove up to a batch of attempts that started before an instant; the newest of each job stay. Returns how many."""
    old = _old(logged_job, logged_job.c.ID, logged_job.c.StartedAt, before, keep_last)
    ids: list[int] = list(await connection.scalars(old))
    if ids:
        await connection.execute(sa.delete(logged_job).where(logged_job.c.ID.in_(ids)))
    return len(ids)


async def prune_audit(connection: AsyncConnection, before: datetime) -> int:
    """Remove up to a batch of audit rows from before an instant. Returns how many."""
    old = sa.select(job_audit.c.Id).where(job_audit.c.At < before).limit(BATCH)
    ids = list(await connection.scalars(old))
    if ids:
        await connection.execute(sa.delete(job_audit).where(job_audit.c.Id.in_(ids)))
    return len(ids)


def _old(
    table: sa.Table,
    key: sa.Column[Any],
    at: sa.Column[Any],
    before: datetime,
    keep_last: int,
) -> sa.Select[Any]:
    over = sa.true() if table is logged_job else table.c.State.in_(FINAL)
    place = sa.func.row_number().over(partition_by=table.c.JobName, order_by=key.desc())
    ranked = sa.select(key.label("Id"), at.label("At"), place.label("Place")).where(over).subquery()
    return (
        sa.select(ranked.c.Id).where(ranked.c.At < before, ranked.c.Place > keep_last).limit(BATCH)
    )
