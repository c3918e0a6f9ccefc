"""What those hear who watch single runs: state and progress, and the lines that were written since the last look."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL, RunState
from ...storage.dialects import known
from ...storage.tables import job_log_line, job_run
from ..models import LogLine


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run's state and how far it is."""

    id: int
    job: str
    queue: str
    state: RunState
    attempt: int
    progress_done: float | None
    progress_total: float | None
    message: str | None
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in FINAL


async def statuses(connection: AsyncConnection, ids: Collection[int]) -> dict[int, RunStatus]:
    """The state of some runs; those that are not there are left out."""
    c = job_run.c
    rows = await connection.execute(
        sa.select(c.Id, c.JobName, c.Queue, c.State, c.Attempt, c.ProgressDone, c.ProgressTotal)
        .add_columns(c.Message, c.StartedAt, c.CompletedAt)
        .where(known.of(connection).among(c.Id, list(ids)))
    )
    return {
        row.Id: RunStatus(
            id=row.Id,
            job=row.JobName,
            queue=row.Queue,
            state=RunState(row.State),
            attempt=row.Attempt,
            progress_done=row.ProgressDone,
            progress_total=row.ProgressTotal,
            message=row.Message,
            started_at=row.StartedAt,
            completed_at=row.CompletedAt,
        )
        for row in rows
    }


async def lines_after(
    connection: AsyncConnection, run_id: int, after: int, limit: int
) -> tuple[LogLine, ...]:
    """The next lines that a run wrote after the one with this key, oldest first."""
    c = job_log_line.c
    statement = (
        sa.select(c.Id, c.Attempt, c.At, c.Level, c.Message)
        .where(c.RunId == run_id, c.Id > after)
        .order_by(c.Id)
        .limit(limit)
    )
    return tuple(LogLine(*row) for row in await connection.execute(statement))
