"""Pause and resume jobs and queues."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor
from ..core.errors import PauseError
from ..db.columns import UtcDateTime
from ..db.dialects import known
from ..db.dialects.frequent import FrequentStatement
from ..db.tables import job_queue, job_schedule

_LAST_YEAR = 9000
"""Last year in which a pause may end: its end is converted to other zones and added to, so the end of the calendar is avoided."""

_PAUSED_JOBS = FrequentStatement(
    sa.select(job_schedule.c.JobName).where(
        job_schedule.c.PausedAt.is_not(None),
        sa.or_(
            job_schedule.c.PausedUntil.is_(None),
            job_schedule.c.PausedUntil > sa.bindparam("now", type_=UtcDateTime),
        ),
    )
)


async def pause_job(
    connection: AsyncConnection,
    name: str,
    by: Actor,
    now: datetime,
    *,
    reason: str | None,
    until: datetime | None,
) -> None:
    """Pause a job: its slots pass without runs.

    Raises:
        PauseError: ``until`` is in the past, or after the year 9000.
    """
    await _pause(connection, job_schedule.c.JobName, name, by, now, reason=reason, until=until)


async def resume_job(connection: AsyncConnection, name: str, now: datetime) -> None:
    """Resume a job from now on; slots that passed during the pause are not made up for."""
    values: dict[str, Any] = {**_RESUMED, "LastSlot": now}
    paused = sa.and_(job_schedule.c.JobName == name, job_schedule.c.PausedAt.is_not(None))
    await connection.execute(sa.update(job_schedule).where(paused).values(values))


async def paused_jobs(connection: AsyncConnection, now: datetime) -> set[str]:
    """Return the names of the paused jobs."""
    return {row.JobName for row in await _PAUSED_JOBS.all(connection, {"now": now})}


async def pause_queue(
    connection: AsyncConnection,
    name: str,
    by: Actor,
    now: datetime,
    *,
    reason: str | None,
    until: datetime | None,
) -> None:
    """Pause a queue: no worker takes runs from the queue.

    Raises:
        PauseError: ``until`` is in the past, or after the year 9000.
    """
    await _pause(connection, job_queue.c.Name, name, by, now, reason=reason, until=until)


async def resume_queue(connection: AsyncConnection, name: str) -> None:
    """Resume a queue: workers take runs from the queue again."""
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
    if until is not None and until.year > _LAST_YEAR:
        raise PauseError(f"until {until.year} is as good as for ever: leave the end out")
    values = {
        "PausedBy": str(by),
        "PausedAt": now,
        "PauseReason": reason[:500] if reason else None,
        "PausedUntil": until,
    }
    upsert = known.of(connection).upsert(key.table, [key], {key.name: name, **values})
    await connection.execute(upsert)


async def end_first_pause(connection: AsyncConnection, name: str, by: str, now: datetime) -> None:
    """End the pause that a job was created with; a pause that a person set stays."""
    created = sa.and_(
        job_schedule.c.JobName == name,
        job_schedule.c.PausedBy == by,
        job_schedule.c.PausedUntil.is_(None),
    )
    values: dict[str, Any] = {**_RESUMED, "LastSlot": now}
    await connection.execute(sa.update(job_schedule).where(created).values(values))
