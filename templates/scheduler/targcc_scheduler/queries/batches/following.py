"""What those hear who watch batches and flows: how many of their runs are over, and how many are under way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...flows.progress import StepState
from ...storage.dialects import known
from ...storage.tables import job_batch, job_run
from ...storage.ties.flows.rows import KIND as FLOW
from ...storage.ties.flows.rows import flow_of


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
