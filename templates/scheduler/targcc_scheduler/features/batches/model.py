"""Rows of batches, and their dependents.

Lock rows of batches after rows of runs, and inner batches before outer batches: larger ids first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import BatchError, UnknownBatch
from ...core.states import RunState
from ...db.dialects import known
from ...db.tables import job_batch, job_link, job_run
from ...kernel.dependencies import BATCH, RUN, Parent

# Rows of ``c_JobBatch``: insert and read.

Row = Any
"""A row of ``c_JobBatch``."""


class BatchState(StrEnum):
    """The state of a batch. An ended batch has a state of a run, so dependencies treat batches and runs alike."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"  # all runs and inner batches have succeeded
    FAILED = "failed"
    CANCELLED = "cancelled"  # by a person, and some member has not succeeded


IS_BATCH = job_batch.c.Kind == BATCH


async def create(
    connection: AsyncConnection,
    *,
    name: str,
    by: str,
    now: datetime,
    members: int,
    parent_id: int | None,
) -> int:
    """Insert a batch with a number of members (runs and inner batches), and return its id."""
    c = job_batch.c
    values: dict[sa.Column[Any], Any] = {
        c.Name: name,
        c.Kind: BATCH,
        c.State: BatchState.RUNNING,
        c.CreatedBy: by[:100],
        c.CreatedAt: now,
        c.ParentId: parent_id,
        c.Total: members,
        c.Pending: members,
    }
    made = await connection.execute(sa.insert(job_batch).values(values).returning(c.Id))
    return int(made.scalar_one())


async def get(connection: AsyncConnection, batch_id: int, *, lock: bool = False) -> Row:
    """Return the row of a batch.

    Raises:
        UnknownBatch: no batch has this id.
    """
    query = sa.select(job_batch).where(job_batch.c.Id == batch_id, IS_BATCH)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise UnknownBatch(f"there is no batch {batch_id}")
    return row


async def with_inner(connection: AsyncConnection, batch_id: int) -> list[int]:
    """Return the ids of a batch and its inner batches, innermost first."""
    batch_ids = [batch_id]
    level = [batch_id]
    while level:
        among = known.of(connection).among(job_batch.c.ParentId, level)
        inner = await connection.execute(sa.select(job_batch.c.Id).where(among, IS_BATCH))
        level = list(inner.scalars())
        batch_ids += level
    return sorted(batch_ids, reverse=True)


async def with_outer(connection: AsyncConnection, batch_id: int) -> list[int]:
    """Return the ids of a batch and its outer batches, outermost last."""
    batch_ids: list[int] = []
    outer: int | None = batch_id
    while outer is not None:
        batch_ids.append(outer)
        outer = await connection.scalar(
            sa.select(job_batch.c.ParentId).where(job_batch.c.Id == outer)
        )
    return batch_ids


async def grow(connection: AsyncConnection, batch_id: int, count: int) -> None:
    """Add to the member count of a running batch. The row lock keeps the batch running until this transaction ends.

    Raises:
        UnknownBatch: no batch has this id.
        BatchError: the batch is over or being cancelled.
    """
    row = await get(connection, batch_id, lock=True)
    if row.State != BatchState.RUNNING:
        raise BatchError(f"batch {batch_id} is {row.State}: nothing can be added to it")
    if row.CancelledBy is not None:
        raise BatchError(f"batch {batch_id} is being cancelled by {row.CancelledBy}")
    c = job_batch.c
    more = sa.update(job_batch).where(c.Id == batch_id)
    await connection.execute(more.values(Total=c.Total + count, Pending=c.Pending + count))


async def mark_cancelled(connection: AsyncConnection, ids: Sequence[int], by: str) -> None:
    """Set the actor that cancels running batches; the first actor stays."""
    for batch_id in ids:
        open_ = sa.and_(job_batch.c.Id == batch_id, job_batch.c.State == BatchState.RUNNING)
        by_first = sa.func.coalesce(job_batch.c.CancelledBy, by)
        await connection.execute(sa.update(job_batch).where(open_).values(CancelledBy=by_first))


async def runs_in(
    connection: AsyncConnection,
    ids: Sequence[int],
    states: Sequence[RunState],
    *,
    after: int,
    up_to: int | None = None,
    most: int,
) -> list[int]:
    """Return ids of the batches' runs in one of the states, in order, with ids above ``after`` and at most ``up_to``."""
    wanted = [
        known.of(connection).among(job_run.c.BatchId, ids),
        job_run.c.State.in_(states),
        job_run.c.Id > after,
    ]
    if up_to is not None:
        wanted.append(job_run.c.Id <= up_to)
    query = sa.select(job_run.c.Id).where(*wanted).order_by(job_run.c.Id).limit(most)
    return list((await connection.execute(query)).scalars())


async def newest_run(connection: AsyncConnection, ids: Sequence[int]) -> int:
    """Return the largest run id in the batches; 0 if the batches have no runs."""
    among = known.of(connection).among(job_run.c.BatchId, ids)
    return int(await connection.scalar(sa.select(sa.func.max(job_run.c.Id)).where(among)) or 0)


# Dependents of batches: runs that wait for a batch, their batches, and so on.


async def waiting_for(connection: AsyncConnection, batch_ids: Collection[int]) -> set[Parent]:
    """Return the given batches, and every run and batch that cannot end before the given batches."""
    parents: set[Parent] = set()
    level: set[Parent] = {(BATCH, item_id) for item_id in batch_ids}
    while level:
        parents |= level
        runs = [item_id for kind, item_id in level if kind == RUN]
        batches = [item_id for kind, item_id in level if kind == BATCH]
        level = {
            *await _children(connection, RUN, runs),
            *await _children(connection, BATCH, batches),
            *await _around(connection, job_run.c.BatchId, job_run.c.Id, runs),
            *await _around(connection, job_batch.c.ParentId, job_batch.c.Id, batches),
        } - parents
    return parents


async def _children(connection: AsyncConnection, kind: str, ids: Collection[int]) -> list[Parent]:
    """Return the runs that wait for the given runs or batches."""
    if not ids:
        return []
    c = job_link.c
    among = known.of(connection).among(c.ParentId, sorted(ids))
    query = (
        sa.select(c.ChildId)
        .join(job_run, job_run.c.Id == c.ChildId)
        .where(c.ParentKind == kind, among, job_run.c.State == RunState.AWAITING)
    )
    return [(RUN, run_id) for run_id in await connection.scalars(query)]


async def _around(
    connection: AsyncConnection,
    outer: sa.Column[int],
    inner: sa.Column[int],
    ids: Collection[int],
) -> list[Parent]:
    """Return the batches that contain the given runs or batches."""
    if not ids:
        return []
    among = known.of(connection).among(inner, sorted(ids))
    outer_ids = await connection.scalars(sa.select(outer).where(among, outer.is_not(None)))
    return [(BATCH, outer_id) for outer_id in outer_ids]
