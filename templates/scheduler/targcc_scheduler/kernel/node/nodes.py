"""Nodes, their heartbeats, and the rescue of runs whose node was lost."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import WAITING, RunState
from ...db.columns import UtcDateTime
from ...db.dialects import known
from ...db.dialects.counting import changed
from ...db.dialects.frequent import FrequentStatement
from ...db.tables import job_run, job_server, job_setting
from ..runs.claim import Row, claim_of
from ..runs.settle import settle
from ..runs.transition import is_in_state
from ..runs.values import MOST_LOST_WORKERS, AttemptRecord, Claim, Settlement

_ID_NAME = "database id"
_ID_OF_DATABASE = sa.select(job_setting.c.Value).where(job_setting.c.Name == _ID_NAME)
_DATABASE_ID = FrequentStatement(_ID_OF_DATABASE)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A node, as it presents itself."""

    id: str
    name: str
    process_id: int
    queues: str
    workers: int
    version: str
    started_at: datetime


@dataclass(frozen=True)
class Beat:
    """What another node said last.

    Args:
        mark: What it said in a file beside the database, if there is one.
        stuck_in: Where it is stuck, or was when it was killed.
    """

    server_id: str
    process_id: int
    at: datetime
    mark: object = None
    stuck_in: str | None = None


@dataclass(frozen=True)
class Condition:
    """What a node says of itself with each beat.

    Args:
        clock_offset_ms: Its machine's clock less the database's.
        stuck_since: Since when its jobs' loop has not turned.
        stuck_in: In which job.
    """

    clock_offset_ms: int = 0
    stuck_since: datetime | None = None
    stuck_in: str | None = None


async def register(connection: AsyncConnection, server: Server, now: datetime) -> None:
    """Add a node."""
    await connection.execute(
        job_server.insert().values(
            Id=server.id,
            Name=server.name,
            ProcessId=server.process_id,
            Queues=server.queues[:500],
            Workers=server.workers,
            Version=server.version,
            StartedAt=server.started_at,
            HeartbeatAt=now,
        )
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a beat hears of the database.

    Args:
        database: The id that tells it from any other.
        now: What its clock shows; ``None`` where that is this machine's.
    """

    database: str | None
    now: datetime | None


async def beat(
    connection: AsyncConnection, server_id: str, now: datetime, condition: Condition
) -> Answer | None:
    """Say that a node is alive. ``None`` when its row is gone: another node declared it lost, or it is another database."""
    said = {
        "server_id": server_id,
        "now": now,
        "clock_offset_ms": condition.clock_offset_ms,
        "stuck_since": condition.stuck_since,
        "stuck_in": condition.stuck_in,
    }
    dialect = known.of(connection)
    statement = _BEATS.get(dialect.name) or _BEATS.setdefault(dialect.name, _beat(dialect.clock))
    rows = await statement.all(connection, said)
    return next((Answer(row.database, row.clock) for row in rows), None)


async def database_id(connection: AsyncConnection) -> str | None:
    """The id that tells this database from any other; ``None``: it has none yet."""
    return next((str(row.Value) for row in await _DATABASE_ID.all(connection, {})), None)


async def give_database_id(connection: AsyncConnection, now: datetime) -> str | None:
    """The database's id; it gets one if it has none."""
    insert = known.of(connection).insert_ignore(job_setting, [job_setting.c.Name])
    row = {"Name": _ID_NAME, "Value": uuid.uuid4().hex, "UpdatedAt": now}
    await connection.execute(insert.values(row))
    return await database_id(connection)


async def mark_stopping(connection: AsyncConnection, server_id: str, now: datetime) -> None:
    """Say that a node takes nothing new."""
    await connection.execute(
        sa.update(job_server).where(job_server.c.Id == server_id).values(StoppingAt=now)
    )


async def deregister(connection: AsyncConnection, server_id: str) -> None:
    """Remove a node that has stopped."""
    await connection.execute(sa.delete(job_server).where(job_server.c.Id == server_id))


async def remove_lost(connection: AsyncConnection, lost: Beat) -> bool:
    """Remove a node that is declared lost, unless it has said something meanwhile or is removed already, or is being removed by another, who rescues its runs."""
    there = sa.select(job_server.c.Id).where(
        job_server.c.Id == lost.server_id, job_server.c.HeartbeatAt == lost.at
    )
    free = there.with_for_update(skip_locked=True).scalar_subquery()
    return await changed(connection, sa.delete(job_server).where(job_server.c.Id == free)) == 1


async def rescue(
    connection: AsyncConnection,
    now: datetime,
    *,
    limits: Mapping[str, int],
    count_as_lost: bool = True,
) -> list[Settlement]:
    """Settle every run that belongs to a node which does not exist; what became of them.

    It is enqueued again, due as it was, so that it goes before what came later; its third lost worker makes it failed; one that somebody wanted cancelled is cancelled. The lost attempt gets
    its row of history. What goes on is still to be submitted to the engine, in the same transaction.

    Args:
        connection: A transaction that writes.
        now: The present instant.
        limits: The jobs of which only so many runs may be running at once.
        count_as_lost: ``False`` for a node that deregisters and leaves a run behind: that is not the run's fault.
    """
    orphans = sa.select(job_run).where(_orphan()).order_by(job_run.c.Id).with_for_update()
    rows = (await connection.execute(orphans)).all()
    lost = [_lost(row, claim_of(row, limits, now), now, counts=count_as_lost) for row in rows]
    return await settle(connection, lost, now)


def _orphan() -> sa.ColumnElement[bool]:
    alive = sa.select(job_server.c.Id)
    return sa.and_(job_run.c.State == RunState.RUNNING, job_run.c.ServerId.not_in(alive))


def _lost(row: Row, claim: Claim, now: datetime, *, counts: bool) -> Settlement:
    reason = f"its worker {claim.server_id} was lost"
    state = RunState.ENQUEUED
    if row.CancelRequestedBy is not None:
        state, reason = RunState.CANCELLED, f"cancelled by {row.CancelRequestedBy}; {reason}"
    elif claim.lost_workers + counts >= MOST_LOST_WORKERS:
        state, reason = RunState.FAILED, "three workers were lost while it ran"
    server = (claim.server_id or "").partition(":")[0]
    return Settlement(
        claim=claim,
        state=state,
        note=reason,
        message=reason,
        cost_a_worker=counts,
        attempt=AttemptRecord(ended_at=now, success=False, server=server, message=reason),
    )


_BEATS: dict[str, FrequentStatement] = {}
"""How to beat on each kind of database."""


def _beat(clock: sa.ColumnElement[Any]) -> FrequentStatement:
    return FrequentStatement(
        sa.update(job_server)
        .where(job_server.c.Id == sa.bindparam("server_id"))
        .values(
            HeartbeatAt=sa.bindparam("now", type_=UtcDateTime),
            ClockOffsetMs=sa.bindparam("clock_offset_ms"),
            StuckSince=sa.bindparam("stuck_since", type_=UtcDateTime),
            StuckIn=sa.bindparam("stuck_in"),
        )
        .returning(_ID_OF_DATABASE.scalar_subquery().label("database"), clock.label("clock"))
    )


RUNNING = sa.exists().where(job_run.c.State == RunState.RUNNING)
"""Whether any run is running."""
WAITING_RUNS = sa.exists().where(is_in_state(*sorted(WAITING)))
"""Whether any run waits, perhaps for its time."""
ORPHANS = sa.exists().where(_orphan())
"""Whether a running run belongs to a node that does not exist."""
