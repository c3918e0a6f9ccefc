"""Writing what the statistics count, in the transaction that makes it true: so each ending counts exactly once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..dialects import known
from ..dialects.base import MOST, SUMS, Insert
from ..dialects.counting import changed
from ..tables import job_stat
from .endings import Ending, added_up


async def add(connection: AsyncConnection, endings: Iterable[Ending], shard: int) -> None:
    """Count endings.

    Args:
        connection: A transaction.
        endings: What has ended.
        shard: See :func:`~.endings.shard_of_process`.
    """
    if rows := added_up(endings, shard):
        await connection.execute(_added_to(connection), rows)


def add_plainly(connection: sa.Connection, endings: Iterable[Ending], shard: int) -> None:
    """As :func:`add`, without an event loop."""
    if rows := added_up(endings, shard):
        connection.execute(_added_to(connection), rows)


async def fold(connection: AsyncConnection, *, since: datetime, before: datetime, most: int) -> int:
    """Put up to ``most`` rows of all shards into the first one: hardly anybody adds to them any more. Returns how many.

    Who does add to one meanwhile makes it anew, so nothing is lost.
    """
    during = job_stat.c.BeginsAt >= since, job_stat.c.BeginsAt < before
    return await _move(connection, (*during, job_stat.c.Shard != 0), most, Shard=0)


async def rename(connection: AsyncConnection, new: str, old: str, *, most: int) -> int:
    """Let a job have up to ``most`` rows of a name that it had before. Returns how many."""
    return await _move(connection, (job_stat.c.JobName == old,), most, JobName=new)


async def _move(
    connection: AsyncConnection, which: Iterable[sa.ColumnElement[bool]], most: int, **to: object
) -> int:
    """Add up to ``most`` rows, that nobody has locked, to those with another key, and remove them. Returns how many."""
    key = list(job_stat.primary_key)
    rest = sa.select(job_stat).where(*which).order_by(*key).limit(most)
    found = await connection.execute(rest.with_for_update(skip_locked=True))
    rows = [dict(row) for row in found.mappings()]
    if rows:
        keys = [tuple(row[column.name] for column in key) for row in rows]
        await connection.execute(sa.delete(job_stat).where(sa.tuple_(*key).in_(keys)))
        await connection.execute(_added_to(connection), [{**row, **to} for row in rows])
    return len(rows)


async def remove(connection: AsyncConnection, *, before: datetime, most: int) -> int:
    """Remove up to ``most`` rows from before an instant. Returns how many."""
    key = list(job_stat.primary_key)
    old = sa.select(*key).where(job_stat.c.BeginsAt < before).order_by(job_stat.c.BeginsAt)
    removal = sa.delete(job_stat).where(sa.tuple_(*key).in_(old.limit(most)))
    return await changed(connection, removal)


def _added_to(connection: AsyncConnection | sa.Connection) -> Insert:
    return known.of(connection).insert_added(job_stat, sums=SUMS, most=MOST)
