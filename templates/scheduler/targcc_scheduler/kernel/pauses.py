"""Pause and resume jobs and queues; maintenance windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor
from ..core.errors import PauseError
from ..core.languages import Localized
from ..db.columns import UtcDateTime
from ..db.dialects import known
from ..db.dialects.frequent import FrequentStatement, insert_new
from ..db.tables import job_maintenance, job_queue, job_schedule

# Pause and resume jobs and queues.

_LAST_YEAR = 9000
"""Last year in which a pause may end: its end is converted to other zones and added to, so the end of the calendar is avoided."""

_NOW = sa.bindparam("now", type_=UtcDateTime)


def is_paused(table: sa.Table, now: sa.ColumnElement[Any] = _NOW) -> sa.ColumnElement[bool]:
    """Return the condition that a job or queue, a row of ``table``, is paused. Default time: the parameter ``now``."""
    c = table.c
    return sa.and_(c.PausedAt.is_not(None), sa.or_(c.PausedUntil.is_(None), c.PausedUntil > now))


_PAUSED_JOBS = FrequentStatement(sa.select(job_schedule.c.JobName).where(is_paused(job_schedule)))


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
    """Resume a job from now on; slots that passed during the pause are not made up for.

    A job that no node has seen yet gets its row now: the first node then does not create it paused.
    """
    await insert_new(connection, job_schedule, [job_schedule.c.JobName], {"JobName": name})
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
        raise PauseError(
            Localized("until %(when)s is in the past", when=until.isoformat(timespec="minutes"))
        )
    if until is not None and until.year > _LAST_YEAR:
        raise PauseError(
            Localized("until %(year)s is as good as for ever: leave the end out", year=until.year)
        )
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


# Maintenance windows: table ``c_JobMaintenance``.

KEPT = timedelta(days=90)
"""Retention of windows after their end."""

_C = job_maintenance.c
_ORDER = (
    _C.Id,
    _C.StartsAt,
    _C.EndsAt,
    _C.Queues,
    _C.Reason,
    _C.PlannedBy,
    _C.PlannedAt,
    _C.EndedBy,
)


def _is_active(now: sa.ColumnElement[Any] = _NOW) -> sa.ColumnElement[bool]:
    # A window that begins at once has begun by any clock: the clock of whoever planned it may be ahead of the clock that now counts.
    return sa.and_(sa.or_(_C.StartsAt <= now, _C.StartsAt <= _C.PlannedAt), _C.EndsAt > now)


_ACTIVE = FrequentStatement(sa.select(*_ORDER).where(_is_active()).order_by(_C.StartsAt, _C.Id))


def is_open(
    queue: sa.ColumnElement[str], now: sa.ColumnElement[Any] = _NOW
) -> sa.ColumnElement[bool]:
    """Return the condition that a queue is neither paused nor in maintenance. Default time: the parameter ``now``.

    The condition belongs into the statement that chooses runs. After an earlier look, a queue could be closed and a run be created, which
    the statement would find.
    """
    comma = sa.literal(",", sa.Text)
    is_listed = sa.func.replace(_C.Queues, comma + queue + comma, "") != _C.Queues
    return sa.and_(
        ~sa.exists().where(job_queue.c.Name == queue, is_paused(job_queue, now)),
        ~sa.exists().where(_is_active(now), sa.or_(_C.Queues == written(()), is_listed)),
    )


@dataclass(frozen=True, slots=True)
class Window:
    """A maintenance window: a time range in which no run starts.

    Args:
        id: The window's number.
        starts_at: Start, inclusive.
        ends_at: End, exclusive; waiting runs start then.
        queues: Affected queues; empty for all queues.
        reason: Reason of the window.
        by: Author of the plan.
        planned_at: Time of planning.
        ended_by: Person who ended the window early, or ``None``.
    """

    id: int
    starts_at: datetime
    ends_at: datetime
    queues: tuple[str, ...]
    reason: str
    by: str
    planned_at: datetime
    ended_by: str | None = None

    def is_active(self, now: datetime) -> bool:
        """Return whether the window contains ``now``."""
        return self.starts_at <= max(now, self.planned_at) and now < self.ends_at

    def covers(self, queue: str) -> bool:
        """Return whether the window stops the runs of a queue."""
        return not self.queues or queue in self.queues


async def active(connection: AsyncConnection, now: datetime) -> list[Window]:
    """Return the active windows in order of start."""
    return [_window(row) for row in await _ACTIVE.all(connection, {"now": now})]


async def since(connection: AsyncConnection, earliest: datetime) -> list[Window]:
    """Return the windows that end after ``earliest``, in order of start."""
    query = sa.select(*_ORDER).where(_C.EndsAt > earliest).order_by(_C.StartsAt, _C.Id)
    return [_window(row) for row in await connection.execute(query)]


async def add(connection: AsyncConnection, window: Window) -> int:
    """Insert a window and return its number. Windows that ended more than :data:`KEPT` ago are deleted."""
    old = sa.delete(job_maintenance).where(_C.EndsAt < window.planned_at - KEPT)
    await connection.execute(old)
    values: dict[str, Any] = {
        "StartsAt": window.starts_at,
        "EndsAt": window.ends_at,
        "Queues": written(window.queues),
        "Reason": window.reason[:500],
        "PlannedBy": window.by[:100],
        "PlannedAt": window.planned_at,
    }
    done = await connection.execute(sa.insert(job_maintenance).values(values).returning(_C.Id))
    return int(done.scalar_one())


async def end(connection: AsyncConnection, window_id: int, by: str, now: datetime) -> Window | None:
    """End an active window now, or delete a planned window.

    Returns:
        The window before the change; ``None`` if no window with this number is active or planned.
    """
    condition = sa.and_(_C.Id == window_id, _C.EndsAt > now)
    result = await connection.execute(sa.select(*_ORDER).where(condition).with_for_update())
    row = result.one_or_none()
    if row is None:
        return None
    if row.StartsAt > now:
        await connection.execute(sa.delete(job_maintenance).where(_C.Id == window_id))
    else:
        values = {"EndsAt": now, "EndedBy": by[:100]}
        await connection.execute(
            sa.update(job_maintenance).where(_C.Id == window_id).values(values)
        )
    return _window(row)


def written(queues: Sequence[str]) -> str:
    """Return queue names in the column's form: separated and enclosed by commas."""
    return f",{','.join(queues)}," if queues else ","


def queues_of(text: str) -> tuple[str, ...]:
    """Parse the queue names of the column; an empty result means all queues."""
    return tuple(queue for queue in text.split(",") if queue)


def _window(row: Any) -> Window:
    number, starts_at, ends_at, queues, *rest = row
    return Window(number, starts_at, ends_at, queues_of(queues), *rest)
