"""The table of notes: read, add and remove entries, and say them where people ask why a job does not run."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler.db.columns import UtcDateTime
from targcc_scheduler.kernel.queries.models import Run

entry = sa.Table(
    "golden_jobs_notes",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job", sa.String(200), nullable=False, index=True),
    sa.Column("text", sa.String(500), nullable=False),
    sa.Column("author", sa.String(100), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("until", UtcDateTime),
    info={"job": "job"},  # who may see a job may see its rows
)


async def entries(connection: AsyncConnection, job: str | None = None) -> Sequence[sa.Row[Any]]:
    """Return the entries of a job, or of all jobs, newest first."""
    query = sa.select(entry).order_by(entry.c.id.desc())
    if job is not None:
        query = query.where(entry.c.job == job)
    return (await connection.execute(query)).all()


async def add(
    connection: AsyncConnection,
    *,
    job: str,
    text: str,
    author: str,
    now: datetime,
    until: datetime | None = None,
) -> None:
    """Insert an entry."""
    values = {"job": job, "text": text, "author": author, "created_at": now, "until": until}
    await connection.execute(sa.insert(entry).values(values))


async def remove_expired(connection: AsyncConnection, now: datetime) -> None:
    """Remove the entries whose time is over."""
    await connection.execute(sa.delete(entry).where(entry.c.until <= now))


async def prune(connection: AsyncConnection, before: datetime, now: datetime, most: int) -> int:
    """Remove up to ``most`` entries from before an instant, and return their number."""
    del now
    oldest = sa.select(entry.c.id).where(entry.c.created_at < before).limit(most)
    removed = await connection.execute(sa.delete(entry).where(entry.c.id.in_(oldest)))
    return removed.rowcount


async def reasons(
    connection: AsyncConnection, job: str, run: Run | None, now: datetime
) -> list[str]:
    """Return the entries of a job as sentences, for ``targcc why`` and the pages of job and run."""
    del run, now
    return [f"{row.author} says: {row.text}" for row in await entries(connection, job)]
