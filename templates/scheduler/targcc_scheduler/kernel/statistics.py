"""Count ended runs by job and quarter of an hour, in the transaction that ends them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import FINAL, RunState
from ..db.dialects import known
from ..db.dialects.base import MOST, SUMS, Insert
from ..db.dialects.counting import changed
from ..db.tables import job_run, job_setting, job_stat, logged_job
from .runs.values import HISTORY_SHARD, Ending, added_up

# Writing what the statistics count, in the transaction that makes it true: so each ending counts exactly once.


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


# Counting what was there before the statistics were: rows of releases before 0.3, in short steps that can be stopped at any time.
#
# Revision 0003 noted up to which keys there are such rows, in ``c_JobSetting``. A step counts the newest of them that are left and lowers
# the note in the same transaction, so each counts once, whoever does the steps. What ended later is counted where it ends, see ``counts``.

_ATTEMPTS, _RUNS = "uncounted attempts", "uncounted runs"
_RUN_ID = re.compile(r"[0-9]{1,18}")
_Row = Any


@dataclass(frozen=True)
class _Left:
    """Up to which key rows are left, and when they were all there were."""

    key: int
    since: datetime


async def left(connection: AsyncConnection) -> int:
    """About how many rows are still to be counted."""
    c = job_setting.c
    found = await connection.scalars(sa.select(c.Value).where(c.Name.in_((_ATTEMPTS, _RUNS))))
    return sum(max(int(one), 1) for one in found)


async def step(connection: AsyncConnection, most: int) -> bool:
    """Count up to ``most`` rows, in a transaction. Whether there may be more."""
    return await _step(connection, _ATTEMPTS, most) or await _step(connection, _RUNS, most)


async def _step(connection: AsyncConnection, name: str, most: int) -> bool:
    todo = await _left(connection, name)
    if todo is None:
        return False
    keys, endings = await (_attempts if name == _ATTEMPTS else _runs)(connection, todo, most)
    await add(connection, endings, HISTORY_SHARD)
    mine = job_setting.c.Name == name
    if len(keys) < most:
        await connection.execute(sa.delete(job_setting).where(mine))
    else:
        await connection.execute(
            sa.update(job_setting).where(mine).values(Value=str(min(keys) - 1))
        )
    return True


async def _left(connection: AsyncConnection, name: str) -> _Left | None:
    c = job_setting.c
    query = sa.select(c.Value, c.UpdatedAt).where(c.Name == name).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _Left(int(row.Value), row.UpdatedAt)


async def _attempts(
    connection: AsyncConnection, todo: _Left, most: int
) -> tuple[list[int], list[Ending]]:
    c = logged_job.c
    query = sa.select(c.ID, c.JobName, c.JobId, c.Attempt, c.StartedAt, c.Success, c.DurationMs)
    rows = await connection.execute(query.where(todo.key >= c.ID).order_by(c.ID.desc()).limit(most))
    found = rows.all()
    ids = sorted({row.JobId for row in found if row.JobId is not None})
    last = await _last_attempts(connection, ids)
    runs = await _runs_by_id(connection, [int(one) for one in ids if _RUN_ID.fullmatch(one)])
    endings = [_ending(row, last, runs, todo.since) for row in found]
    return [row.ID for row in found], endings


async def _last_attempts(connection: AsyncConnection, ids: Sequence[str]) -> set[int]:
    """The keys of the runs' last attempts."""
    c = logged_job.c
    newest = sa.func.row_number().over(
        partition_by=(c.JobName, c.JobId),
        order_by=(c.Attempt.desc(), c.StartedAt.desc(), c.ID.desc()),
    )
    ranked = sa.select(c.ID, newest.label("place")).where(c.JobId.in_(ids)).subquery()
    found = await connection.scalars(sa.select(ranked.c.ID).where(ranked.c.place == 1))
    return set(found)


async def _runs_by_id(connection: AsyncConnection, ids: Sequence[int]) -> dict[str, _Row]:
    c = job_run.c
    query = sa.select(c.Id, c.State, c.CompletedAt).where(c.Id.in_(ids))
    return {str(row.Id): row for row in await connection.execute(query)}


def _ending(row: _Row, last: set[int], runs: Mapping[str, _Row], since: datetime) -> Ending:
    """How the statistics would have counted an attempt.

    An attempt after which the run went on is one that was retried, also when the run ended after the statistics were begun: its end is
    counted there. History alone does not say that a run was cancelled: it counts as failed once the run itself is gone.
    """
    run = runs.get(row.JobId) if row.JobId is not None else None
    goes_on = row.JobId is not None and row.ID not in last
    if run is not None and not goes_on:
        goes_on = run.State not in FINAL or (
            run.CompletedAt is not None and run.CompletedAt > since
        )
    if goes_on:
        outcome = RunState.RETRYING
    elif run is not None:
        outcome = RunState(run.State)
    else:
        outcome = RunState.SUCCEEDED if row.Success else RunState.FAILED
    return Ending(
        job=row.JobName,
        at=row.StartedAt,
        outcome=outcome,
        duration_ms=row.DurationMs if row.Success else None,
        retried=not goes_on and row.Attempt > 1,
    )


async def _runs(
    connection: AsyncConnection, todo: _Left, most: int
) -> tuple[list[int], list[Ending]]:
    """Runs that ended without an attempt: slots that were missed or skipped, and what was cancelled before."""
    c = job_run.c
    query = sa.select(c.Id, c.JobName, c.State, c.StartedAt, c.ScheduledFor, c.CompletedAt)
    rows = await connection.execute(query.where(todo.key >= c.Id).order_by(c.Id.desc()).limit(most))
    found = rows.all()
    return [row.Id for row in found], list(_without_attempt(found, todo.since))


def _without_attempt(rows: Sequence[_Row], since: datetime) -> Iterator[Ending]:
    for row in rows:
        ended = row.CompletedAt
        if row.State in FINAL and row.StartedAt is None and ended is not None and ended <= since:
            state = RunState(row.State)
            slot = row.ScheduledFor if state is not RunState.CANCELLED else None
            yield Ending(job=row.JobName, at=slot or ended, outcome=state)
