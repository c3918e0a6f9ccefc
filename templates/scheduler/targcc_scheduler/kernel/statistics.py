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
from ..db.dialects.frequent import remove_some
from ..db.tables import job_run, job_setting, job_stat, logged_job
from .runs.values import HISTORY_SHARD, Ending, added_up

# Counting: in the transaction that writes an ending, so that each ending counts exactly once.


async def add(connection: AsyncConnection, endings: Iterable[Ending], shard: int) -> None:
    """Count endings.

    Args:
        connection: A transaction.
        endings: The runs and attempts that ended.
        shard: See :func:`~.runs.values.shard_of_process`.
    """
    if rows := added_up(endings, shard):
        await connection.execute(_added_to(connection), rows)


def add_plainly(connection: sa.Connection, endings: Iterable[Ending], shard: int) -> None:
    """Count endings over a synchronous connection; see :func:`add`."""
    if rows := added_up(endings, shard):
        connection.execute(_added_to(connection), rows)


async def fold(connection: AsyncConnection, *, since: datetime, before: datetime, most: int) -> int:
    """Move up to ``most`` rows of all shards into shard 0, for a period to which hardly any ending is added any more.

    An ending that is added to a moved row meanwhile creates the row anew, so no count is lost.

    Returns:
        The number of rows moved.
    """
    during = job_stat.c.BeginsAt >= since, job_stat.c.BeginsAt < before
    return await _move(connection, (*during, job_stat.c.Shard != 0), most, Shard=0)


_FOLDED = "folded statistics"
"""The setting with the instant up to which :func:`fold` has moved rows."""


async def folded_until(connection: AsyncConnection) -> datetime | None:
    """Return the instant up to which the rows were moved; ``None`` before the first time."""
    c = job_setting.c
    value = await connection.scalar(sa.select(c.Value).where(c.Name == _FOLDED))
    return None if value is None else datetime.fromisoformat(value)


async def note_folded(connection: AsyncConnection, until: datetime, now: datetime) -> None:
    """Store the instant for :func:`folded_until`."""
    row = {"Name": _FOLDED, "Value": until.isoformat(), "UpdatedAt": now}
    await connection.execute(known.of(connection).upsert(job_setting, [job_setting.c.Name], row))


async def rename(connection: AsyncConnection, new: str, old: str, *, most: int) -> int:
    """Move up to ``most`` rows from a former name of a job to its new name; return the number of rows moved."""
    return await _move(connection, (job_stat.c.JobName == old,), most, JobName=new)


async def _move(
    connection: AsyncConnection, which: Iterable[sa.ColumnElement[bool]], most: int, **to: object
) -> int:
    """Add up to ``most`` rows to the rows with another key, and delete the rows; skip rows that another transaction has locked.

    Returns:
        The number of rows moved.
    """
    key = list(job_stat.primary_key)
    rest = sa.select(job_stat).where(*which).order_by(*key).limit(most)
    result = await connection.execute(rest.with_for_update(skip_locked=True))
    rows = [dict(row) for row in result.mappings()]
    if rows:
        keys = [tuple(row[column.name] for column in key) for row in rows]
        await connection.execute(sa.delete(job_stat).where(sa.tuple_(*key).in_(keys)))
        await connection.execute(_added_to(connection), [{**row, **to} for row in rows])
    return len(rows)


async def remove(connection: AsyncConnection, *, before: datetime, most: int) -> int:
    """Delete up to ``most`` rows from before an instant; return the number of deleted rows."""
    return await remove_some(connection, job_stat, job_stat.c.BeginsAt < before, most=most)


def _added_to(connection: AsyncConnection | sa.Connection) -> Insert:
    return known.of(connection).insert_added(job_stat, sums=SUMS, most=MOST)


# Recount: count the rows that releases before 0.3 wrote, in short steps that can be stopped at any time.
#
# The migration from 0.1 stored in ``c_JobSetting`` up to which keys there are such rows. A step counts the newest rows that are left and lowers the
# note in the same transaction, so each row counts once, on whatever node the step runs. Runs that ended later are counted by ``add``.

_ATTEMPTS, _RUNS = "uncounted attempts", "uncounted runs"
_RUN_ID = re.compile(r"[0-9]{1,18}")
_Row = Any


@dataclass(frozen=True)
class _Left:
    """The highest key that is not counted yet, and the instant of the note: later endings are counted by :func:`add`."""

    key: int
    since: datetime


async def left(connection: AsyncConnection) -> int:
    """Return roughly how many rows are still to be counted."""
    c = job_setting.c
    values = await connection.scalars(sa.select(c.Value).where(c.Name.in_((_ATTEMPTS, _RUNS))))
    return sum(max(int(value), 1) for value in values)


async def step(connection: AsyncConnection, most: int) -> bool:
    """Count up to ``most`` rows in a transaction; return whether there may be more."""
    return await _step(connection, _ATTEMPTS, most) or await _step(connection, _RUNS, most)


async def _step(connection: AsyncConnection, name: str, most: int) -> bool:
    todo = await _left(connection, name)
    if todo is None:
        return False
    keys, endings = await (_attempts if name == _ATTEMPTS else _runs)(connection, todo, most)
    await add(connection, endings, HISTORY_SHARD)
    condition = job_setting.c.Name == name
    if len(keys) < most:
        await connection.execute(sa.delete(job_setting).where(condition))
    else:
        await connection.execute(
            sa.update(job_setting).where(condition).values(Value=str(min(keys) - 1))
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
    attempts = rows.all()
    ids = sorted({row.JobId for row in attempts if row.JobId is not None})
    last = await _last_attempts(connection, ids)
    runs = await _runs_by_id(
        connection, [int(run_id) for run_id in ids if _RUN_ID.fullmatch(run_id)]
    )
    endings = [_ending(row, last, runs, todo.since) for row in attempts]
    return [row.ID for row in attempts], endings


async def _last_attempts(connection: AsyncConnection, ids: Sequence[str]) -> set[int]:
    """Return the keys of the last attempts of runs."""
    c = logged_job.c
    newest = sa.func.row_number().over(
        partition_by=(c.JobName, c.JobId),
        order_by=(c.Attempt.desc(), c.StartedAt.desc(), c.ID.desc()),
    )
    ranked = sa.select(c.ID, newest.label("place")).where(c.JobId.in_(ids)).subquery()
    keys = await connection.scalars(sa.select(ranked.c.ID).where(ranked.c.place == 1))
    return set(keys)


async def _runs_by_id(connection: AsyncConnection, ids: Sequence[int]) -> dict[str, _Row]:
    c = job_run.c
    query = sa.select(c.Id, c.State, c.CompletedAt).where(c.Id.in_(ids))
    return {str(row.Id): row for row in await connection.execute(query)}


def _ending(row: _Row, last: set[int], runs: Mapping[str, _Row], since: datetime) -> Ending:
    """Return the ending that the statistics would have counted for an attempt.

    If the run went on after the attempt, the attempt counts as retried. So does the last attempt of a run that ended after the statistics
    began, since :func:`add` counts that end. History alone does not say that a run was cancelled: an attempt counts as failed once its
    run is gone.
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
    """Return the keys of the newest uncounted runs, and the endings of runs without an attempt: missed, skipped or cancelled before."""
    c = job_run.c
    query = sa.select(c.Id, c.JobName, c.State, c.StartedAt, c.ScheduledFor, c.CompletedAt)
    rows = await connection.execute(query.where(todo.key >= c.Id).order_by(c.Id.desc()).limit(most))
    runs = rows.all()
    return [row.Id for row in runs], list(_without_attempt(runs, todo.since))


def _without_attempt(rows: Sequence[_Row], since: datetime) -> Iterator[Ending]:
    for row in rows:
        ended = row.CompletedAt
        if row.State in FINAL and row.StartedAt is None and ended is not None and ended <= since:
            state = RunState(row.State)
            slot = row.ScheduledFor if state is not RunState.CANCELLED else None
            yield Ending(job=row.JobName, at=slot or ended, outcome=state)
