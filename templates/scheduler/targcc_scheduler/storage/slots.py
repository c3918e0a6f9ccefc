"""Recurring jobs: up to which slot each schedule is handled."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .dialects import known
from .tables import job_run, job_schedule


@dataclass(frozen=True)
class ScheduleRow:
    """Where a job's schedule stands.

    Args:
        last_slot: Every slot up to here, and this one, is handled.
        text: The schedule by which it was handled.
        paused_at: Since when it is or was paused.
        paused_until: When the pause ends by itself.
    """

    last_slot: datetime | None
    text: str | None
    paused_at: datetime | None
    paused_until: datetime | None

    def is_paused(self, now: datetime) -> bool:
        """Whether slots pass silently now."""
        if self.paused_at is None:
            return False
        return self.paused_until is None or self.paused_until > now


async def add_new(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows for jobs that are seen for the first time; the others stay as they are."""
    if rows:
        insert = known.of(connection).insert_ignore(job_schedule, [job_schedule.c.JobName])
        await connection.execute(insert, [dict(row) for row in rows])


async def load(
    connection: AsyncConnection, names: Collection[str] | None = None
) -> dict[str, ScheduleRow]:
    """Where schedules stand.

    Args:
        connection: A transaction, if rows are to be locked.
        names: Which jobs; they are locked until the transaction ends. ``None`` reads all.
    """
    query = sa.select(
        job_schedule.c.JobName,
        job_schedule.c.LastSlot,
        job_schedule.c.ScheduleText,
        job_schedule.c.PausedAt,
        job_schedule.c.PausedUntil,
    )
    if names is not None:
        query = query.where(job_schedule.c.JobName.in_(names)).order_by(job_schedule.c.JobName)
        query = query.with_for_update()
    return {name: ScheduleRow(*row) for name, *row in await connection.execute(query)}


async def restart(connection: AsyncConnection, name: str, text: str, last_slot: datetime) -> None:
    """Handle a job's schedule from ``last_slot`` on: it is new, or has changed."""
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName == name)
        .values(LastSlot=last_slot, ScheduleText=text)
    )


async def forget(connection: AsyncConnection, names: Collection[str]) -> None:
    """Forget the schedules of jobs, so that they start from then when they return."""
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName.in_(names), job_schedule.c.ScheduleText.is_not(None))
        .values(ScheduleText=None)
    )


async def advance(connection: AsyncConnection, name: str, last_slot: datetime) -> None:
    """Every slot of a job up to ``last_slot`` is handled."""
    await connection.execute(
        sa.update(job_schedule).where(job_schedule.c.JobName == name).values(LastSlot=last_slot)
    )


async def end_pause(connection: AsyncConnection, name: str, last_slot: datetime) -> None:
    """A pause has ended by itself: go on from there."""
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName == name)
        .values(
            PausedBy=None, PausedAt=None, PauseReason=None, PausedUntil=None, LastSlot=last_slot
        )
    )


async def last_completion(connection: AsyncConnection, name: str) -> datetime | None:
    """When the last run of a job ended."""
    result: datetime | None = await connection.scalar(
        sa.select(sa.func.max(job_run.c.CompletedAt)).where(
            job_run.c.JobName == name, job_run.c.StartedAt.is_not(None)
        )
    )
    return result
