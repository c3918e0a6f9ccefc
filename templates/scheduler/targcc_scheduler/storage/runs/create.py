"""New rows of `c_JobRun`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL
from ..tables import job_run
from .transition import life
from .values import NewRun


async def insert(connection: AsyncConnection, run: NewRun, now: datetime) -> int:
    """Create a run and return its id."""
    result = await connection.execute(
        job_run.insert().values(_row(run, now)).returning(job_run.c.Id)
    )
    return int(result.scalar_one())


async def insert_slot(connection: AsyncConnection, run: NewRun, now: datetime) -> int | None:
    """Create the run of a slot and return its id; ``None`` when the slot has one already."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(job_run).values(_row(run, now))
    nothing_twice = statement.on_conflict_do_nothing(
        index_elements=[job_run.c.JobName, job_run.c.ScheduledFor]
    )
    result = await connection.execute(nothing_twice.returning(job_run.c.Id))
    return result.scalar_one_or_none()


def _row(run: NewRun, now: datetime) -> dict[str, Any]:
    return {
        "JobName": run.job_name,
        "JobType": run.job_type,
        "State": str(run.state),
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
        "LifeLog": life(now, run.state, run.note),
    }
