"""Run log: the log lines, progress, stop notes and finished steps that a run records while running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import RunTaken
from ...db.dialects import known
from ...db.tables import job_log_line, job_run, job_step
from .transition import owned_by
from .values import Claim


async def add_lines(connection: AsyncConnection, lines: Sequence[Mapping[str, Any]]) -> None:
    """Insert log lines (rows of ``c_JobLogLine``)."""
    await connection.execute(job_log_line.insert(), [dict(line) for line in lines])


async def set_progress(
    connection: AsyncConnection, claim: Claim, done: float, total: float | None
) -> None:
    """Store the progress of a run, if the run still belongs to the claim's node."""
    owned = owned_by(claim.run_id, claim.server_id or "", claim.attempt)
    await connection.execute(
        sa.update(job_run).where(owned).values(ProgressDone=done, ProgressTotal=total)
    )


async def set_stop_note(connection: AsyncConnection, claim: Claim, note: str) -> None:
    """Store a note that a run continues after a request to stop, if the run still belongs to the claim's node."""
    owned = owned_by(claim.run_id, claim.server_id or "", claim.attempt)
    await connection.execute(sa.update(job_run).where(owned).values(StopNote=note))


async def find_step(connection: AsyncConnection, run_id: int, name: str) -> str | None:
    """Return the result of a finished step as JSON; ``None``: the step has not finished."""
    result: str | None = await connection.scalar(
        sa.select(job_step.c.ResultJson).where(job_step.c.RunId == run_id, job_step.c.Name == name)
    )
    return result


async def keep_step(
    connection: AsyncConnection,
    claim: Claim,
    name: str,
    *,
    result_json: str,
    duration_ms: int,
    now: datetime,
) -> None:
    """Store the result of a step.

    Raises:
        RunTaken: the run belongs to another node now; that node repeats the step.
    """
    owned = owned_by(claim.run_id, claim.server_id or "", claim.attempt)
    query = sa.select(job_run.c.Id).where(owned).with_for_update()
    if (await connection.execute(query)).first() is None:
        raise RunTaken(f"run {claim.run_id} belongs to another node now")
    # Ignore an existing row: an earlier try was committed, but its confirmation was lost.
    statement = known.of(connection).insert_ignore(job_step, [job_step.c.RunId, job_step.c.Name])
    await connection.execute(
        statement.values(
            RunId=claim.run_id,
            Name=name,
            ResultJson=result_json,
            Attempt=claim.attempt,
            CompletedAt=now,
            DurationMs=duration_ms,
        )
    )
