"""New rows of `c_JobRun`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL
from ..dialects import known
from ..tables import job_run
from .transition import first_state
from .values import NewRun


async def insert(connection: AsyncConnection, run: NewRun, now: datetime) -> int:
    """Create a run and return its id."""
    result = await connection.execute(
        job_run.insert().values(_row(run, now)).returning(job_run.c.Id)
    )
    return int(result.scalar_one())


async def insert_slot(connection: AsyncConnection, run: NewRun, now: datetime) -> int | None:
    """Create the run of a slot and return its id; ``None`` when the slot has one already."""
    slot = [job_run.c.JobName, job_run.c.ScheduledFor]
    statement = known.of(connection).insert_ignore(job_run, slot).values(_row(run, now))
    result = await connection.execute(statement.returning(job_run.c.Id))
    run_id: int | None = result.scalar_one_or_none()
    return run_id


def _row(run: NewRun, now: datetime) -> dict[str, Any]:
    return {
        "JobName": run.job_name,
        "JobType": run.job_type,
        "Queue": run.queue,
        "Priority": run.priority,
        "ArgumentsJson": run.arguments_json,
        "ScheduledFor": run.scheduled_for,
        "DueAt": run.due_at,
        "CreatedAt": now,
        "CompletedAt": now if run.state in FINAL else None,
        "TriggeredBy": run.triggered_by,
        "Message": run.note if run.state in FINAL else None,
        "BlockedBy": run.blocked_by,
    } | first_state(now, run.state, run.note)
