# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What operators decide: pausing jobs and queues, and the record of who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ..actor import Actor
from ..tables import job_alert, job_audit, job_queue, job_schedule


class PauseError(ValueError):
    """A pause would end before it begins."""


async def audit(
    connection: AsyncConnection,
    by: Actor,
    action: str,
    now: datetime,
    *,
    job_name: str | None = None,
    run_id: int | None = None,
    detail: str | None = None,
) -> None:
    """Record that somebody did something."""
    await connection.execute(
        job_audit.insert().values(
            At=now,
            Actor=str(by),
            Action=action,
            JobName=job_name,
            RunId=run_id,
            Detail=detail,
            RemoteAddress=by.remote,
        )
    )


async def alerted_jobs(connection: AsyncConnection) -> frozenset[str]:
    """The jobs that have a row in ``c_JobAlert``."""
    return frozenset(await connection.scalars(sa.select(job_alert.c.JobName)))


async def pause_job(
    connection: AsyncConnection,
    name: str,
    by: Actor,
    now: datetime,
    *,
    reason: str | None,
    until: datetime | None,
) -> None:
    """Let the slots of a job pass silently."""
    await _pause(connection, job_schedule.c.JobName, name, by, now, reason=reason, until=until)


async def resume_job(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Let a job run again, from now on: what passed while it was paused is not made up for."""
    values: dict[str, Any] = {**_RESUMED, "LastSlot": now}
    paused = sa.and_(job_schedule.c.JobName == name, job_schedule.c.PausedAt.is_not(None))
    await connection.execute(sa.update(job_schedule).where(paused).values(values))


async def pause_queue(
    connection: AsyncConnection,
    name: str,
    by: Actor,
    now: datetime,
    *,
    reason: str | None,
    until: datetime | None,
) -> None:
    """Let no worker take runs from a queue."""
    await _pause(connection, job_queue.c.Name, name, by, now, reason=reason, until=until)


async def resume_queue(connection: AsyncConnection, name: str) -> None:
    """Let workers take runs from a queue again."""
    await connection.execute(sa.update(job_queue).where(job_queue.c.Name == name).values(_RESUMED))


_RESUMED = {"PausedBy": None, "PausedAt": None, "PauseReason": None, "PausedUntil": None}


async def _pause(
    connection: AsyncConnection,
    key: sa.Column[Any],
    name: str,
    by: Actor,
    now: datetime,
    *,
    reason: str | None,
    until: datetime | None,
) -> None:
    if until is not None and until <= now:
        raise PauseError(f"until {until.isoformat(timespec='minutes')} is in the past")
    values = {
        "PausedBy": str(by),
        "PausedAt": now,
        "PauseReason": reason[:500] if reason else None,
        "PausedUntil": until,
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(key.table).values({key.name: name, **values})
    await connection.execute(insert.on_conflict_do_update(index_elements=[key], set_=values))
