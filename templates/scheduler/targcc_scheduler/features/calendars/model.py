"""Rows of ``c_JobMaintenance``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...db.columns import UtcDateTime
from ...db.dialects.frequent import FrequentStatement
from ...db.tables import job_maintenance

KEPT = timedelta(days=90)
"""For how long a window is kept once it is over."""

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
HAS_BEGUN = sa.and_(
    _C.StartsAt <= sa.bindparam("now", type_=UtcDateTime),
    _C.EndsAt > sa.bindparam("now", type_=UtcDateTime),
)
"""That a window has begun and is not over; its parameter is ``now``."""
_ACTIVE = FrequentStatement(sa.select(*_ORDER).where(HAS_BEGUN).order_by(_C.StartsAt, _C.Id))


@dataclass(frozen=True, slots=True)
class Window:
    """A maintenance window.

    Args:
        id: Its number.
        starts_at: No run starts from then on.
        ends_at: Up to then; what waits starts then.
        queues: Only those of these queues; none are all.
        reason: Why.
        by: Who planned it.
        planned_at: When.
        ended_by: Who ended it before its time.
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
        """Whether it has begun and is not over."""
        return self.starts_at <= now < self.ends_at

    def covers(self, queue: str) -> bool:
        """Whether runs of a queue do not start in it."""
        return not self.queues or queue in self.queues


async def active(connection: AsyncConnection, now: datetime) -> list[Window]:
    """The windows that have begun and are not over, the first to begin first."""
    return [_window(row) for row in await _ACTIVE.all(connection, {"now": now})]


async def since(connection: AsyncConnection, earliest: datetime) -> list[Window]:
    """The windows that end later than an instant, the first to begin first."""
    query = sa.select(*_ORDER).where(_C.EndsAt > earliest).order_by(_C.StartsAt, _C.Id)
    return [_window(row) for row in await connection.execute(query)]


async def add(connection: AsyncConnection, window: Window) -> int:
    """Write a window, whose number the database gives; those that are long over go."""
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
    """End a window that has begun, or take back one that has not; ``None`` if there is none that is not over."""
    mine = sa.and_(_C.Id == window_id, _C.EndsAt > now)
    found = await connection.execute(sa.select(*_ORDER).where(mine).with_for_update())
    row = found.one_or_none()
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
    """Queues as the column has them."""
    return f",{','.join(queues)}," if queues else ","


def queues_of(text: str) -> tuple[str, ...]:
    """The queues in the column; none are all."""
    return tuple(one for one in text.split(",") if one)


def _window(row: Any) -> Window:
    number, starts_at, ends_at, queues, *rest = row
    return Window(number, starts_at, ends_at, queues_of(queues), *rest)
