"""Stage: runs whose time has come become enqueued. The engine's loop does so, in a transaction of its own."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ..tables import UtcDateTime, job_run
from .transition import state_line, transition

WAITS_FOR_ITS_TIME = (RunState.SCHEDULED, RunState.RETRYING)
_STAGE = transition(
    RunState.ENQUEUED,
    job_run.c.DueAt <= sa.bindparam("now", type_=UtcDateTime),
    sources=WAITS_FOR_ITS_TIME,
)


async def stage_due(connection: AsyncConnection, now: datetime) -> int:
    """Scheduled and retrying runs whose time has come become enqueued. Returns how many."""
    line = state_line(now, RunState.ENQUEUED, "due")
    result = await connection.execute(_STAGE, {"now": now, "line": line})
    return result.rowcount


_MINE = job_run.c.Queue.in_(sa.bindparam("queues", expanding=True))
_WAITING_WORK = sa.select(
    sa.exists().where(job_run.c.State == RunState.ENQUEUED, _MINE),
    sa.select(sa.func.min(job_run.c.DueAt))
    .where(job_run.c.State.in_(WAITS_FOR_ITS_TIME), _MINE)
    .scalar_subquery(),
)


async def waiting_work(
    connection: AsyncConnection, queues: Collection[str], now: datetime
) -> tuple[bool, datetime | None]:
    """Whether a run waits for a worker in one of the queues, and when the next one is due."""
    found = (await connection.execute(_WAITING_WORK, {"queues": list(queues)})).one()
    next_due: datetime | None = found[1]
    return bool(found[0]) or (next_due is not None and next_due <= now), next_due
