"""Batches with the states of their members."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...db.dialects import known
from ...db.tables import job_batch, job_link, job_run
from ...kernel.dependencies import BATCH
from ..flows.graph import StepState
from ..flows.model import KIND as FLOW
from ..flows.model import flow_of
from .model import IS_BATCH, BatchState, Row

# Batches with how many of their members are over, and how many of their runs are in which state.

_C = job_batch.c
_MOST_NAMED = 100


@dataclass(frozen=True)
class Batch:
    """A batch as people see it.

    Args:
        id: Its id.
        name: What whoever created it calls it.
        state: How it stands.
        created_by: Who created it.
        created_at: When.
        completed_at: When it was over; ``None`` until then.
        cancelled_by: Who cancelled it.
        parent: The batch that it is in.
        total: How many members it has: runs, and batches in it.
        pending: How many of them are not over.
        failed: How many of them did not succeed.
        runs: How many of its own runs are in each state.
        inner: The batches in it, 100 at most.
        callbacks: The runs that wait for it, or waited, 100 at most.
    """

    id: int
    name: str
    state: BatchState
    created_by: str
    created_at: datetime
    completed_at: datetime | None
    cancelled_by: str | None
    parent: int | None
    total: int
    pending: int
    failed: int
    runs: Mapping[str, int] = field(default_factory=dict)
    inner: tuple[int, ...] = ()
    callbacks: tuple[int, ...] = ()

    @property
    def over(self) -> int:
        """How many members are over."""
        return self.total - self.pending


async def list_batches(
    db: AsyncConnection,
    *,
    state: BatchState | None = None,
    limit: int = 50,
    before: int | None = None,
    parent: int | None = None,
) -> list[Batch]:
    """Batches, newest first, without their runs and the batches in them.

    Args:
        db: The database.
        state: In this state.
        limit: At most so many.
        before: Older than this one.
        parent: Of those in this one.
    """
    query = sa.select(job_batch).where(IS_BATCH)
    if state is not None:
        query = query.where(_C.State == state)
    if before is not None:
        query = query.where(_C.Id < before)
    if parent is not None:
        query = query.where(_C.ParentId == parent)
    rows = await db.execute(query.order_by(_C.Id.desc()).limit(limit))
    return [_batch(row) for row in rows]


async def get_batch(db: AsyncConnection, batch_id: int) -> Batch | None:
    """A batch with what is in it and what waits for it; ``None``: there is none with this id."""
    row = await _row(db, batch_id)
    if row is None:
        return None
    run, link = job_run.c, job_link.c
    counted = sa.select(run.State, sa.func.count()).where(run.BatchId == batch_id)
    runs = {state: count for state, count in await db.execute(counted.group_by(run.State))}
    inner = sa.select(_C.Id).where(_C.ParentId == batch_id, IS_BATCH).order_by(_C.Id)
    waiting = sa.select(link.ChildId).where(link.ParentKind == BATCH, link.ParentId == batch_id)
    return _batch(
        row,
        runs=runs,
        inner=tuple((await db.execute(inner.limit(_MOST_NAMED))).scalars()),
        callbacks=tuple(
            (await db.execute(waiting.order_by(link.ChildId).limit(_MOST_NAMED))).scalars()
        ),
    )


async def batch_of_run(db: AsyncConnection, batch_id: int | None) -> Batch | None:
    """The batch that a run is of, as in a list; ``None``: it is of none, or of a flow."""
    row = None if batch_id is None else await _row(db, batch_id)
    return None if row is None else _batch(row)


async def _row(db: AsyncConnection, batch_id: int) -> Row | None:
    query = sa.select(job_batch).where(_C.Id == batch_id, IS_BATCH)
    return (await db.execute(query)).one_or_none()


def _batch(
    row: Row,
    *,
    runs: Mapping[str, int] | None = None,
    inner: tuple[int, ...] = (),
    callbacks: tuple[int, ...] = (),
) -> Batch:
    return Batch(
        id=row.Id,
        name=row.Name,
        state=BatchState(row.State),
        created_by=row.CreatedBy,
        created_at=row.CreatedAt,
        completed_at=row.CompletedAt,
        cancelled_by=row.CancelledBy,
        parent=row.ParentId,
        total=row.Total,
        pending=row.Pending,
        failed=row.Failed,
        runs=runs or {},
        inner=inner,
        callbacks=callbacks,
    )


# What those hear who watch batches and flows: how many of their runs are over, and how many are under way.


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """The state of a batch or a flow, and how far it is.

    Args:
        id: Its id.
        name: What it is called.
        state: How it stands.
        total: Its members: runs and batches in it; of a flow its steps.
        pending: How many of them are not over.
        failed: How many of them did not succeed.
        running: How many of its runs are running.
        retrying: How many wait for their next attempt.
        completed_at: When it was over; ``None`` until then.
        steps: The state of each step of a flow; empty of a batch.
    """

    id: int
    name: str
    state: str
    total: int
    pending: int
    failed: int
    running: int
    retrying: int
    completed_at: datetime | None
    steps: Mapping[str, StepState] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether it is over; it goes on when its runs are done again."""
        return self.completed_at is not None


async def batch_statuses(
    connection: AsyncConnection, ids: Collection[int]
) -> dict[int, BatchStatus]:
    """The state of some batches and flows; those that are not there are left out."""
    c, among = job_batch.c, known.of(connection).among
    active = await _active(connection, ids)
    rows = await connection.execute(sa.select(job_batch).where(among(c.Id, sorted(ids))))
    return {
        row.Id: BatchStatus(
            id=row.Id,
            name=row.Name,
            state=row.State,
            total=row.Total,
            pending=row.Pending,
            failed=row.Failed,
            running=active.get((row.Id, RunState.RUNNING), 0),
            retrying=active.get((row.Id, RunState.RETRYING), 0),
            completed_at=row.CompletedAt,
            steps=(
                {name: step.state for name, step in flow_of(row).steps.items()}
                if row.Kind == FLOW
                else {}
            ),
        )
        for row in rows
    }


async def _active(connection: AsyncConnection, ids: Collection[int]) -> dict[tuple[int, str], int]:
    """How many runs of each are under way: few, however large it is, and found by the index."""
    c = job_run.c
    rows = await connection.execute(
        sa.select(c.BatchId, c.State, sa.func.count())
        .where(known.of(connection).among(c.BatchId, sorted(ids)))
        .where(c.State.in_((RunState.RUNNING, RunState.RETRYING)))
        .group_by(c.BatchId, c.State)
    )
    return {(batch, state): number for batch, state, number in rows}
