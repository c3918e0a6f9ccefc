"""Settle: the outcome of attempts becomes the state of their runs, with a row of history each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import RunStateError
from ...core.states import FINAL, RunState, sources_of
from ..dialects.postgresql import settle_batch
from ..tables import UtcDateTime, job_log_line, job_run, logged_job
from .transition import life
from .values import Settlement


async def settle(
    connection: AsyncConnection, settlements: Sequence[Settlement], now: datetime
) -> frozenset[int]:
    """Give held runs their new states, with their history; returns the ids of those that were still held."""
    rows = [_settled(item, now) for item in settlements]
    if connection.dialect.name == "postgresql":
        held = await settle_batch(connection, rows, [item.history for item in settlements])
        settled = [i for i in settlements if (i.claim.run_id, i.claim.attempt) in held]
    else:
        settled = [
            item
            for item, row in zip(settlements, rows, strict=True)
            if (await connection.execute(_SETTLE, row)).rowcount == 1
        ]
        if history := [dict(item.history) for item in settled if item.history is not None]:
            await connection.execute(logged_job.insert(), history)
    if lines := [dict(line) for item in settled for line in item.log_lines]:
        await connection.execute(job_log_line.insert(), lines)
    return frozenset(item.claim.run_id for item in settled)


# Statements that every run needs are built once: building one costs SQLAlchemy more than executing it costs SQLite.
_SETTLE = (
    sa.update(job_run)
    .where(
        job_run.c.Id == sa.bindparam("run_id"),
        job_run.c.State == RunState.RUNNING,
        job_run.c.ServerId == sa.bindparam("server_id"),
        job_run.c.Attempt == sa.bindparam("attempt"),
    )
    .values(
        State=sa.bindparam("state"),
        Message=sa.bindparam("message"),
        CompletedAt=sa.bindparam("completed_at"),
        ServerId=sa.bindparam("last_server_id"),
        DueAt=sa.func.coalesce(sa.bindparam("due_at", type_=UtcDateTime), job_run.c.DueAt),
        Attempt=job_run.c.Attempt - sa.bindparam("not_counted", type_=sa.Integer),
        ProgressDone=sa.func.coalesce(sa.bindparam("done", type_=sa.Float), job_run.c.ProgressDone),
        ProgressTotal=sa.func.coalesce(
            sa.bindparam("total", type_=sa.Float), job_run.c.ProgressTotal
        ),
        LifeLog=job_run.c.LifeLog + sa.bindparam("line", type_=sa.UnicodeText),
    )
)


def _settled(item: Settlement, now: datetime) -> dict[str, Any]:
    """What a settlement writes into the row of its run, and by what it finds it."""
    if RunState.RUNNING not in sources_of(item.state):
        raise RunStateError(f"a running run cannot become {item.state}")
    final = item.state in FINAL
    done, total = item.progress or (None, None)
    return {
        "run_id": item.claim.run_id,
        "server_id": item.claim.server_id,
        "attempt": item.claim.attempt,
        "state": item.state,
        "message": item.message,
        "completed_at": now if final else None,
        "last_server_id": item.claim.server_id if final else None,
        "due_at": item.due_at,
        "not_counted": 0 if item.counts else 1,
        "done": done,
        "total": total,
        "line": life(now, item.state, item.note),
    }


async def settled_before(
    connection: AsyncConnection, settlements: Sequence[Settlement]
) -> frozenset[int]:
    """The runs that are over in just this way: the settlement was written before, although its writer did not hear of it."""
    found = await connection.execute(
        sa.select(job_run.c.Id, job_run.c.State, job_run.c.ServerId, job_run.c.Attempt).where(
            job_run.c.Id.in_([item.claim.run_id for item in settlements])
        )
    )
    now = {tuple(row) for row in found}
    ends = [item for item in settlements if item.state in FINAL]
    return frozenset(
        item.claim.run_id
        for item in ends
        if (item.claim.run_id, item.state, item.claim.server_id, item.claim.attempt) in now
    )
