"""Slots of jobs that only look on: when they would have run from here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..dialects import known
from ..dialects.counting import changed
from ..tables import job_shadow


async def record(connection: AsyncConnection, slots: Mapping[str, Sequence[datetime]]) -> None:
    """Write down the slots of jobs; those that are there already stay once."""
    rows = [{"JobName": job, "Slot": slot} for job, many in slots.items() for slot in many]
    if rows:
        insert = known.of(connection).insert_ignore(job_shadow, [*job_shadow.primary_key.columns])
        await connection.execute(insert, rows)


async def recorded(
    connection: AsyncConnection, jobs: Collection[str], since: datetime, until: datetime
) -> dict[str, list[datetime]]:
    """The slots in ``[since, until)`` of each job, oldest first."""
    c = job_shadow.c
    found: dict[str, list[datetime]] = {job: [] for job in jobs}
    rows = await connection.execute(
        sa.select(c.JobName, c.Slot)
        .where(c.JobName.in_(list(jobs)), c.Slot >= since, c.Slot < until)
        .order_by(c.JobName, c.Slot)
    )
    for row in rows:
        found[row.JobName].append(row.Slot)
    return found


async def prune(connection: AsyncConnection, before: datetime) -> int:
    """Remove slots from before an instant; how many."""
    return await changed(connection, sa.delete(job_shadow).where(job_shadow.c.Slot < before))
