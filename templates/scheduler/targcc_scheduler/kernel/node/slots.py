"""Recurring jobs: up to which slot each schedule is handled."""

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
from ...db.dialects.counting import changed
from ...db.dialects.frequent import is_among, listed
from ...db.tables import job_run, job_schedule

RENAMED = "renamed to "
"""How the text of a schedule begins that a job has under its other name."""

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
    """Where a job's schedule stands.

    Args:
        last_slot: Every slot up to here, and this one, is handled.
        text: The schedule by which it was handled.
        paused_at: Since when it is or was paused.
        paused_until: When the pause ends by itself.
        release: Whose schedule it is.
    """

    last_slot: datetime | None
    text: str | None
    paused_at: datetime | None
    paused_until: datetime | None
    release: str | None

    @property
    def renamed_to(self) -> str | None:
        """The other name under which the job has its schedule; ``None``: it has it here."""
        text = self.text or ""
        return text.removeprefix(RENAMED) if text.startswith(RENAMED) else None

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


async def lock(connection: AsyncConnection, names: Collection[str]) -> None:
    """Lock the schedules of jobs in the order in which everybody does, before several are changed."""
    if names and known.of(connection).many_writers:
        await connection.execute(_LOCK, {"jobs": list(names)})


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
        job_schedule.c.Release,
    )
    if names is not None:
        query = query.where(job_schedule.c.JobName.in_(names)).order_by(job_schedule.c.JobName)
        query = query.with_for_update()
    return {name: ScheduleRow(*row) for name, *row in await connection.execute(query)}


async def restart(
    connection: AsyncConnection, name: str, text: str, last_slot: datetime, release: str
) -> None:
    """Handle a job's schedule from ``last_slot`` on: it is new, or has changed with a release."""
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName == name)
        .values(LastSlot=last_slot, ScheduleText=text, Release=release)
    )


async def go_on_from(connection: AsyncConnection, name: str, last_slot: datetime) -> bool:
    """Let slots after ``last_slot`` be the next ones of a job; whether it has been scheduled before."""
    statement = sa.update(job_schedule).where(job_schedule.c.JobName == name)
    return await changed(connection, statement.values(LastSlot=last_slot)) == 1


async def own(connection: AsyncConnection, names: Collection[str], release: str) -> None:
    """Schedules that a newer release has unchanged are its own from now on."""
    every = list(names)
    for start in range(0, len(every), _MANY):
        mine = job_schedule.c.JobName.in_(every[start : start + _MANY])
        await connection.execute(sa.update(job_schedule).where(mine).values(Release=release))


async def forget(connection: AsyncConnection, names: Collection[str]) -> None:
    """Forget the schedules of jobs, so that they start from then when they return."""
    await lock(connection, names)
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName.in_(names), job_schedule.c.ScheduleText.is_not(None))
        .values(ScheduleText=None, Release=None)
    )


async def advance(connection: AsyncConnection, last_slots: Mapping[str, datetime]) -> None:
    """Every slot of each job up to its last slot is handled."""
    names: dict[datetime, list[str]] = {}
    for name, last_slot in last_slots.items():
        names.setdefault(last_slot, []).append(name)
    for last_slot, jobs in names.items():  # jobs that are due together have the same one
        await connection.execute(_ADVANCE, {"jobs": jobs, "last_slot": last_slot})


async def end_pause(connection: AsyncConnection, name: str, last_slot: datetime) -> None:
    """A pause has ended by itself: go on from there."""
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName == name)
        .values(
            PausedBy=None, PausedAt=None, PauseReason=None, PausedUntil=None, LastSlot=last_slot
        )
    )


async def busy_runs(connection: AsyncConnection, jobs: Collection[str]) -> dict[str, list[int]]:
    """The runs of each job that are busy (running, or waiting for a worker or the next attempt), oldest first.

    One that waits for a node that knows it is in nobody's way.
    """
    busy: dict[str, list[int]] = {name: [] for name in jobs}
    if busy:
        for name, run_id in await connection.execute(_BUSY_RUNS, {"jobs": list(busy)}):
            busy[name].append(run_id)
    return busy


async def last_run(connection: AsyncConnection, name: str) -> tuple[datetime, datetime] | None:
    """When the last run of a job that has ended started, and when it ended."""
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
