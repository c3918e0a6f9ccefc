"""Read batches and the states of their members."""

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

# Batches with their progress and the number of their runs in each state.

_C = job_batch.c
_MOST_NAMED = 100


@dataclass(frozen=True)
class Batch:
    """A batch for pages and the API.

    Args:
        id: The batch's id.
        name: The name from its creator.
        state: The batch's state.
        created_by: The actor that created the batch.
        created_at: Creation time.
        completed_at: End time, ``None`` while the batch is running.
        cancelled_by: The actor that cancelled the batch.
        parent: Id of the outer batch.
        total: Number of members: runs and inner batches.
        pending: Number of members that are not over.
        failed: Number of members that did not succeed.
        runs: Number of the batch's own runs in each state.
        inner: Ids of inner batches, 100 at most.
        callbacks: Ids of the runs with this batch as a dependency, past and present, 100 at most.
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
        """Number of members that are over."""
        return self.total - self.pending


async def list_batches(
    db: AsyncConnection,
    *,
    state: BatchState | None = None,
    limit: int = 50,
    before: int | None = None,
    parent: int | None = None,
) -> list[Batch]:
    """Return batches, newest first, without counts of runs and without inner batches.

    Args:
        db: The database.
        state: Return only batches in this state.
        limit: Maximum number of batches.
        before: Return only batches with a smaller id.
        parent: Return only inner batches of this batch.
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
    """Return a batch with its runs' states, inner batches and dependents; ``None`` if no batch has this id."""
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
    """Return the batch with a run's batch id, without details. Return ``None`` if the id is ``None`` or belongs to a flow."""
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


# Status of batches and flows for open streams: progress, and the number of running and retrying runs.


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """State and progress of a batch or flow.

    Args:
        id: Id of the batch or flow.
        name: Its name.
        state: Its state.
        total: Number of members: runs and inner batches; for a flow, number of steps.
        pending: Number of members that are not over.
        failed: Number of members that did not succeed.
        running: Number of running runs.
        retrying: Number of runs that wait for their next attempt.
        completed_at: End time, ``None`` while running.
        steps: State of each step of a flow; empty for a batch.
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
        """Whether the batch or flow is over. Rerunning a member reopens the batch or flow."""
        return self.completed_at is not None


async def batch_statuses(
    connection: AsyncConnection, ids: Collection[int]
) -> dict[int, BatchStatus]:
    """Return the status of batches and flows by id. Leave out deleted batches and flows."""
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
    """Count the running and retrying runs of each batch. An index finds these few runs, however large the batch."""
    c = job_run.c
    rows = await connection.execute(
        sa.select(c.BatchId, c.State, sa.func.count())
        .where(known.of(connection).among(c.BatchId, sorted(ids)))
        .where(c.State.in_((RunState.RUNNING, RunState.RETRYING)))
        .group_by(c.BatchId, c.State)
    )
    return {(batch, state): number for batch, state, number in rows}
