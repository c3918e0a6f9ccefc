"""Settle: runs get their next states, with a row of history for each attempt that ended.

Every way out of a claim comes through here: the outcome of an attempt, the rescue of a run whose worker was lost, the return of a claim
that nobody performs; and so does the end of a run that is cancelled while it waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import RunStateError
from ...core.states import TRANSITIONS
from ..dialects import known
from ..tables import job_log_line, job_run
from .history import history_row
from .transition import state_line
from .values import Settlement


async def settle(
    connection: AsyncConnection, settlements: Sequence[Settlement], now: datetime
) -> list[Settlement]:
    """Give runs their next states; returns the settlements whose runs were still as they expect, in their order.

    What goes on of them is still to be submitted to the engine, in the same transaction (see ``engine/handover.py``).

    Raises:
        RunStateError: a run cannot get from the one state to the other.
    """
    rows = [_row(item, now) for item in settlements]
    histories = [
        None if item.attempt is None else history_row(item.claim, item.attempt)
        for item in settlements
    ]
    written = await known.of(connection).settle_batch(connection, rows, histories)
    settled = [item for item in settlements if _key(item) in written]
    if lines := [dict(line) for item in settled for line in item.log_lines]:
        await connection.execute(job_log_line.insert(), lines)
    return settled


async def settled_before(
    connection: AsyncConnection, tries: Sequence[tuple[Settlement, datetime]]
) -> list[Settlement]:
    """Those that were written by a try of which the writer did not hear whether it came through.

    Args:
        connection: A transaction, in which they have just been tried again.
        tries: Settlements, and the instants with which they were tried before.
    """
    ids = {item.claim.run_id for item, _ in tries}
    found = await connection.execute(
        sa.select(job_run.c.Id, job_run.c.LifeLog).where(job_run.c.Id.in_(ids))
    )
    changes = {row.Id: row.LifeLog.splitlines() for row in found}
    return [
        item
        for item, at in tries
        if state_line(at, item.state, item.note).rstrip("\n") in changes.get(item.claim.run_id, ())
    ]


def _key(item: Settlement) -> tuple[int, int]:
    return item.claim.run_id, item.claim.attempt


def _row(item: Settlement, now: datetime) -> dict[str, Any]:
    """What a settlement writes into the row of its run, and by what it finds it."""
    if item.state not in TRANSITIONS[item.source]:
        raise RunStateError(f"a run that is {item.source} cannot become {item.state}")
    done, total = item.progress or (None, None)
    return {
        "run_id": item.claim.run_id,
        "source": item.source,
        "server_id": item.claim.server_id,
        "attempt": item.claim.attempt,
        "state": item.state,
        "message": item.message,
        "completed_at": now if item.is_final else None,
        "last_server_id": item.claim.server_id if item.is_final else None,
        "due_at": item.due_at,
        "not_counted": 0 if item.counts else 1,
        "lost": int(item.cost_a_worker),
        "cancelled_by": item.cancelled_by,
        "done": done,
        "total": total,
        "line": state_line(now, item.state, item.note),
    }
