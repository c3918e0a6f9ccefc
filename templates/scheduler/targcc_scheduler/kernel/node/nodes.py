"""Node rows, heartbeats, the rescue of runs whose node was lost, and the ids of nodes and machines."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.processes import boot_minute
from ...core.states import WAITING, RunState
from ...db.columns import UtcDateTime
from ...db.dialects import known
from ...db.dialects.frequent import FrequentStatement, changed
from ...db.tables import job_run, job_server, job_setting
from ..runs.claim import Row, claim_of
from ..runs.settle import settle
from ..runs.transition import is_in_state
from ..runs.values import MOST_LOST_WORKERS, AttemptRecord, Claim, Settlement

# Node rows, heartbeats, and the rescue of runs whose node was lost.

_ID_NAME = "database id"
_ID_OF_DATABASE = sa.select(job_setting.c.Value).where(job_setting.c.Name == _ID_NAME)
_DATABASE_ID = FrequentStatement(_ID_OF_DATABASE)


@dataclass(frozen=True, kw_only=True)
class Server:
    """The row of a node, as written at registration."""

    id: str
    name: str
    process_id: int
    queues: str
    workers: int
    version: str
    started_at: datetime


@dataclass(frozen=True)
class Beat:
    """The last heartbeat of another node.

    Args:
        mark: Content and time of the heartbeat file beside a SQLite database; ``None`` without a file.
        stuck_in: Where the node is blocked, or was blocked when it was killed.
    """

    server_id: str
    process_id: int
    at: datetime
    mark: object = None
    stuck_in: str | None = None


@dataclass(frozen=True)
class Condition:
    """State that a node reports with each heartbeat.

    Args:
        clock_offset_ms: Offset of the machine's clock from the database's clock, in milliseconds.
        stuck_since: Since when the job loop has been blocked.
        stuck_in: Job that blocks the loop.
    """

    clock_offset_ms: int = 0
    stuck_since: datetime | None = None
    stuck_in: str | None = None


async def register(connection: AsyncConnection, server: Server, now: datetime) -> None:
    """Insert the row of a node."""
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
    """Answer of the database to a heartbeat.

    Args:
        database: Unique id of the database.
        now: Time by the database's clock; ``None`` where the database uses this machine's clock.
    """

    database: str | None
    now: datetime | None


async def beat(
    connection: AsyncConnection, server_id: str, now: datetime, condition: Condition
) -> Answer | None:
    """Write a heartbeat.

    Returns:
        The database's answer. ``None`` when the node's row is gone: another node declared this node lost, or the database is another one.
    """
    parameters = {
        "server_id": server_id,
        "now": now,
        "clock_offset_ms": condition.clock_offset_ms,
        "stuck_since": condition.stuck_since,
        "stuck_in": condition.stuck_in,
    }
    rows = await _beat(connection.dialect.name).all(connection, parameters)
    if not rows:
        return None
    if known.of(connection).returns_queries:
        return Answer(rows[0].database, rows[0].clock)
    return Answer(await database_id(connection), rows[0].clock)


async def database_id(connection: AsyncConnection) -> str | None:
    """Return the unique id of this database; ``None`` if the database has no id yet."""
    return next((str(row.Value) for row in await _DATABASE_ID.all(connection, {})), None)


async def give_database_id(connection: AsyncConnection, now: datetime) -> str | None:
    """Return the database's id; create the id if there is none."""
    insert = known.of(connection).insert_ignore(job_setting, [job_setting.c.Name])
    row = {"Name": _ID_NAME, "Value": uuid.uuid4().hex, "UpdatedAt": now}
    await connection.execute(insert.values(row))
    return await database_id(connection)


async def mark_stopping(connection: AsyncConnection, server_id: str, now: datetime) -> None:
    """Record that a node claims no more runs."""
    await connection.execute(
        sa.update(job_server).where(job_server.c.Id == server_id).values(StoppingAt=now)
    )


async def deregister(connection: AsyncConnection, server_id: str) -> None:
    """Remove the row of a stopped node."""
    await connection.execute(sa.delete(job_server).where(job_server.c.Id == server_id))


async def remove_lost(connection: AsyncConnection, lost: Beat) -> bool:
    """Remove the row of a lost node.

    Returns:
        Whether the row was removed. ``False`` if the node has sent a heartbeat since, if the row is gone, or if another node is removing
        the row; that other node rescues the runs.
    """
    query = sa.select(job_server.c.Id).where(
        job_server.c.Id == lost.server_id, job_server.c.HeartbeatAt == lost.at
    )
    free = query.with_for_update(skip_locked=True).scalar_subquery()
    return await changed(connection, sa.delete(job_server).where(job_server.c.Id == free)) == 1


async def rescue(
    connection: AsyncConnection,
    now: datetime,
    *,
    limits: Mapping[str, int],
    count_as_lost: bool = True,
) -> list[Settlement]:
    """Settle every running run whose node has no row.

    A rescued run is enqueued again. The run keeps its due time, so it precedes later runs. After its third lost worker the run fails.
    A run with a cancel request is cancelled. The lost attempt gets a row of history. Submit the enqueued runs to the engine in the same
    transaction.

    Args:
        connection: A transaction that writes.
        now: The current time.
        limits: Most runs at once, by job, of jobs with a limit.
        count_as_lost: ``False`` for a node that deregisters with runs left: the runs count no lost worker.

    Returns:
        The settlement of each run.
    """
    orphans = sa.select(job_run).where(_orphan()).order_by(job_run.c.Id).with_for_update()
    rows = (await connection.execute(orphans)).all()
    lost = [_lost(row, claim_of(row, limits, now), now, counts=count_as_lost) for row in rows]
    return await settle(connection, lost, now)


def _orphan() -> sa.ColumnElement[bool]:
    alive = sa.select(job_server.c.Id)
    return sa.and_(is_in_state(RunState.RUNNING), job_run.c.ServerId.not_in(alive))


def _lost(row: Row, claim: Claim, now: datetime, *, counts: bool) -> Settlement:
    reason = f"its worker {claim.server_id} was lost"
    state = RunState.ENQUEUED
    if row.CancelRequestedBy is None and claim.lost_workers + counts >= MOST_LOST_WORKERS:
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


@functools.cache
def _beat(database: str) -> FrequentStatement:
    """Return the heartbeat statement of a database."""
    dialect = known.named(database)
    answers = [dialect.clock.label("clock")]
    if dialect.returns_queries:
        answers.append(_ID_OF_DATABASE.scalar_subquery().label("database"))
    return FrequentStatement(
        sa.update(job_server)
        .where(job_server.c.Id == sa.bindparam("server_id"))
        .values(
            HeartbeatAt=sa.bindparam("now", type_=UtcDateTime),
            ClockOffsetMs=sa.bindparam("clock_offset_ms"),
            StuckSince=sa.bindparam("stuck_since", type_=UtcDateTime),
            StuckIn=sa.bindparam("stuck_in"),
        )
        .returning(*answers)
    )


RUNNING = sa.exists().where(is_in_state(RunState.RUNNING))
"""SQL condition: a run is running."""
WAITING_RUNS = sa.exists().where(is_in_state(*sorted(WAITING)))
"""SQL condition: a run waits for a worker, its due time or its next attempt."""
ORPHANS = sa.exists().where(_orphan())
"""SQL condition: a running run belongs to a node without a row."""


# Ids of nodes and machines.


def new_server_id(name: str) -> str:
    """Return a new unique node id: ``host:process:machine:random``."""
    return f"{name[:60]}:{os.getpid()}:{this_machine()}:{uuid.uuid4().hex[:8]}"


def host_name() -> str:
    """Return the name of this machine, at most 60 characters."""
    return socket.gethostname()[:60] or "localhost"


def machine_of(server_id: str) -> str:
    """Return the machine part of a node id; processes that can see each other share this part."""
    parts = server_id.rsplit(":", 2)
    return parts[1] if len(parts) == 3 else ""  # noqa: PLR2004 - see new_server_id


@functools.cache
def this_machine() -> str:
    """Return a digest of host name, boot and container: a process id is meaningful only within these three."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        boot += f"/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        boot = str(boot_minute())
    return hashlib.sha256(f"{socket.gethostname()}/{boot}".encode()).hexdigest()[:12]
