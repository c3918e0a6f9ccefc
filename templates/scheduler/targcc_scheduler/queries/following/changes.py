"""What changes of any run: the lines of their state histories that are newer than an instant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...storage.tables import job_run
from ..models import life_of

MOST = 1_000
"""Runs of one look, of each kind."""
_c = job_run.c


@dataclass(frozen=True, slots=True)
class Change:
    """A run got a state.

    Args:
        run_id: The run.
        job: Its job.
        queue: Its queue.
        state: The state.
        at: When.
        note: What the state history says of it.
    """

    run_id: int
    job: str
    queue: str
    state: RunState
    at: datetime
    note: str

    @property
    def key(self) -> str:
        """What a reader that comes back names it by."""
        return f"{self.at.isoformat()}~{self.run_id}~{self.state}"


@dataclass(frozen=True, slots=True)
class Changes:
    """What was found.

    Args:
        found: The changes, oldest first.
        until: Where the next look begins, if there was more than one look takes; else ``None``.
    """

    found: tuple[Change, ...]
    until: datetime | None


async def changes_since(connection: AsyncConnection, since: datetime) -> Changes:
    """The changes since an instant: of runs that ended, that were made, and of those that run or wait for their next attempt.

    A run that waits and becomes due, or is handed back, shows that when it starts.
    """
    ended = await _rows(connection, _c.CompletedAt, _c.CompletedAt >= since, _c.CompletedAt)
    made = await _rows(connection, _c.CreatedAt, _c.CreatedAt >= since, _c.CreatedAt)
    active = _c.State.in_([RunState.RUNNING, RunState.RETRYING])
    going = await _rows(connection, _c.CreatedAt, active, _c.Id.desc())
    runs = {row.Id: row for row in (*ended, *made, *going)}
    found = sorted(
        (one for row in runs.values() for one in _changes(row) if one.at >= since),
        key=lambda one: (one.at, one.run_id),
    )
    full = [rows[-1].At for rows in (ended, made) if len(rows) == MOST]
    return Changes(tuple(found), min(full, default=None))


async def _rows(
    connection: AsyncConnection,
    at: sa.Column[Any],
    where: sa.ColumnElement[bool],
    order: sa.ColumnElement[Any],
) -> list[Any]:
    columns = (_c.Id, _c.JobName, _c.Queue, _c.LifeLog, at.label("At"))
    statement = sa.select(*columns).where(where).order_by(order).limit(MOST)
    return list(await connection.execute(statement))


def _changes(row: Any) -> Iterator[Change]:
    for one in life_of(row.LifeLog):
        yield Change(row.Id, row.JobName, row.Queue, RunState(one.state), one.at, one.note)
