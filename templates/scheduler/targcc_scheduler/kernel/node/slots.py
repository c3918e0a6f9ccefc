"""Schedule rows in ``c_JobSchedule``: the last handled slot of each recurring job."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...db.columns import UtcDateTime
from ...db.dialects import known
from ...db.dialects.frequent import changed, is_among, listed
from ...db.tables import job_run, job_schedule

RENAMED = "renamed to "
"""Prefix of a schedule text that points to the job's other name."""

_MANY = 1000
_BUSY = (RunState.ENQUEUED, RunState.RUNNING, RunState.RETRYING)
_BUSY_RUNS = (
    sa.select(job_run.c.JobName, job_run.c.Id)
    .where(
        job_run.c.JobName.in_(sa.bindparam("jobs", expanding=True)),
        job_run.c.State.in_(_BUSY),
        job_run.c.UnknownSince.is_(None),
    )
    .order_by(job_run.c.Id)
)
_LOCK = (
    sa.select(job_schedule.c.JobName)
    .where(is_among(job_schedule.c.JobName, listed("jobs", sa.Text)))
    .order_by(job_schedule.c.JobName)
    .with_for_update()
)
_ADVANCE = (
    sa.update(job_schedule)
    .where(job_schedule.c.JobName.in_(sa.bindparam("jobs", expanding=True)))
    .values(LastSlot=sa.bindparam("last_slot", type_=UtcDateTime))
)


@dataclass(frozen=True)
class ScheduleRow:
    """The schedule row of a job.

    Args:
        last_slot: Last handled slot; every slot up to and including this instant is handled.
        text: Schedule text by which the slots were handled.
        paused_at: Start of the pause, current or expired.
        paused_until: End of a pause that ends by itself.
        release: Release that owns the schedule.
    """

    last_slot: datetime | None
    text: str | None
    paused_at: datetime | None
    paused_until: datetime | None
    release: str | None

    @property
    def renamed_to(self) -> str | None:
        """The other name that the job's schedule is stored under; ``None`` where this row holds the schedule."""
        text = self.text or ""
        return text.removeprefix(RENAMED) if text.startswith(RENAMED) else None

    def is_paused(self, now: datetime) -> bool:
        """Return whether slots are dropped silently at this instant."""
        if self.paused_at is None:
            return False
        return self.paused_until is None or self.paused_until > now


async def add_new(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows for new jobs; leave existing rows unchanged."""
    if rows:
        insert = known.of(connection).insert_ignore(job_schedule, [job_schedule.c.JobName])
        await connection.execute(insert, [dict(row) for row in rows])


async def lock(connection: AsyncConnection, names: Collection[str]) -> None:
    """Lock jobs' schedule rows in name order, before changing several rows; every caller uses this order."""
    if names and known.of(connection).many_writers:
        await connection.execute(_LOCK, {"jobs": list(names)})


async def load(
    connection: AsyncConnection, names: Collection[str] | None = None
) -> dict[str, ScheduleRow]:
    """Return schedule rows by job name.

    Args:
        connection: A transaction, if rows are to be locked.
        names: Jobs to read; their rows stay locked until the transaction ends. ``None`` reads all rows without locks.
    """
    query = sa.select(
        job_schedule.c.JobName,
        job_schedule.c.LastSlot,
        job_schedule.c.ScheduleText,
        job_schedule.c.PausedAt,
        job_schedule.c.PausedUntil,
        job_schedule.c.Release,
    )
    if names is not None:
        query = query.where(job_schedule.c.JobName.in_(names)).order_by(job_schedule.c.JobName)
        query = query.with_for_update()
    return {name: ScheduleRow(*row) for name, *row in await connection.execute(query)}


async def restart(
    connection: AsyncConnection, name: str, text: str, last_slot: datetime, release: str
) -> None:
    """Set the schedule of a new or changed job; slots after ``last_slot`` are still to handle."""
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName == name)
        .values(LastSlot=last_slot, ScheduleText=text, Release=release)
    )


async def go_on_from(connection: AsyncConnection, name: str, last_slot: datetime) -> bool:
    """Set the last handled slot of a job; return whether the job has a schedule row."""
    statement = sa.update(job_schedule).where(job_schedule.c.JobName == name)
    return await changed(connection, statement.values(LastSlot=last_slot)) == 1


async def own(connection: AsyncConnection, names: Collection[str], release: str) -> None:
    """Assign schedules to a release that has the schedules unchanged."""
    every = list(names)
    for start in range(0, len(every), _MANY):
        condition = job_schedule.c.JobName.in_(every[start : start + _MANY])
        await connection.execute(sa.update(job_schedule).where(condition).values(Release=release))


async def forget(connection: AsyncConnection, names: Collection[str]) -> None:
    """Clear jobs' schedules, so that a job that returns starts from then."""
    await lock(connection, names)
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName.in_(names), job_schedule.c.ScheduleText.is_not(None))
        .values(ScheduleText=None, Release=None)
    )


async def advance(connection: AsyncConnection, last_slots: Mapping[str, datetime]) -> None:
    """Set the last handled slot of each job."""
    names: dict[datetime, list[str]] = {}
    for name, last_slot in last_slots.items():
        names.setdefault(last_slot, []).append(name)
    for last_slot, jobs in names.items():  # jobs due together share a last slot
        await connection.execute(_ADVANCE, {"jobs": jobs, "last_slot": last_slot})


async def end_pause(connection: AsyncConnection, name: str, last_slot: datetime) -> None:
    """Clear a pause that ended by itself and set the last handled slot to its end."""
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName == name)
        .values(
            PausedBy=None, PausedAt=None, PauseReason=None, PausedUntil=None, LastSlot=last_slot
        )
    )


async def busy_runs(connection: AsyncConnection, jobs: Collection[str]) -> dict[str, list[int]]:
    """Return the ids of each job's busy runs, oldest first: running, waiting for a worker, or waiting for the next attempt.

    A run that waits for a node that knows its job is not busy.
    """
    busy: dict[str, list[int]] = {name: [] for name in jobs}
    if busy:
        for name, run_id in await connection.execute(_BUSY_RUNS, {"jobs": list(busy)}):
            busy[name].append(run_id)
    return busy


async def last_run(connection: AsyncConnection, name: str) -> tuple[datetime, datetime] | None:
    """Return when the job's last completed run started and ended; ``None`` without a completed run."""
    row = (
        await connection.execute(
            sa.select(job_run.c.StartedAt, job_run.c.CompletedAt)
            .where(
                job_run.c.JobName == name,
                job_run.c.StartedAt.is_not(None),
                job_run.c.CompletedAt.is_not(None),
            )
            .order_by(job_run.c.CompletedAt.desc())
            .limit(1)
        )
    ).one_or_none()
    return None if row is None else (row.StartedAt, row.CompletedAt)
