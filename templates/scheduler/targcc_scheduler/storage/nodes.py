"""Nodes, their heartbeats, and the rescue of runs whose node was lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import RunState
from .runs.claim import Row
from .runs.transition import life
from .runs.values import MOST_LOST_WORKERS
from .tables import job_run, job_server, logged_job


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
    """What another node said last."""

    server_id: str
    process_id: int
    at: datetime


@dataclass(frozen=True)
class Rescued:
    """A run whose worker was lost, and what became of it: ``enqueued`` again, ``failed`` or ``cancelled``."""

    run_id: int
    job_name: str
    queue: str
    priority: int
    state: RunState
    message: str


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


_EXISTS = sa.select(sa.exists().where(job_server.c.Id == sa.bindparam("server_id")))


async def exists(connection: AsyncConnection, server_id: str) -> bool:
    """Whether the others believe that a node is alive."""
    return bool(await connection.scalar(_EXISTS, {"server_id": server_id}))


async def beat(connection: AsyncConnection, server_id: str, now: datetime) -> bool:
    """Say that a node is alive. ``False`` when its row is gone: the others took it for dead."""
    result = await connection.execute(
        sa.update(job_server).where(job_server.c.Id == server_id).values(HeartbeatAt=now)
    )
    return result.rowcount == 1


async def mark_stopping(connection: AsyncConnection, server_id: str, now: datetime) -> None:
    """Say that a node takes nothing new."""
    await connection.execute(
        sa.update(job_server).where(job_server.c.Id == server_id).values(StoppingAt=now)
    )


async def deregister(connection: AsyncConnection, server_id: str) -> None:
    """Remove a node that has stopped."""
    await connection.execute(sa.delete(job_server).where(job_server.c.Id == server_id))


async def beats(connection: AsyncConnection) -> list[Beat]:
    """What each node said last."""
    rows = await connection.execute(
        sa.select(job_server.c.Id, job_server.c.ProcessId, job_server.c.HeartbeatAt)
    )
    return [Beat(*row) for row in rows]


async def remove_lost(connection: AsyncConnection, dead: Beat) -> bool:
    """Remove a node that is taken for dead, unless it has said something meanwhile or is removed already."""
    result = await connection.execute(
        sa.delete(job_server).where(
            job_server.c.Id == dead.server_id, job_server.c.HeartbeatAt == dead.at
        )
    )
    return result.rowcount == 1


async def has_orphans(connection: AsyncConnection) -> bool:
    """Whether a run is held by a node that does not exist."""
    return bool(await connection.scalar(sa.select(sa.exists().where(_orphan()))))


async def rescue(
    connection: AsyncConnection, now: datetime, *, count_as_lost: bool = True
) -> list[Rescued]:
    """Give every run that is held by a node which does not exist to the others.

    Its third lost worker makes a run failed; one that somebody wanted cancelled is cancelled. The lost attempt gets its row of
    history.

    Args:
        connection: A transaction that writes.
        now: The present instant.
        count_as_lost: ``False`` for a node that signs off and leaves a run behind: that is not the run's fault.
    """
    rows = (await connection.execute(sa.select(job_run).where(_orphan()).with_for_update())).all()
    return [await _rescue_one(connection, row, now, int(count_as_lost)) for row in rows]


def _orphan() -> sa.ColumnElement[bool]:
    alive = sa.select(job_server.c.Id)
    return sa.and_(job_run.c.State == RunState.RUNNING, job_run.c.ServerId.not_in(alive))


async def _rescue_one(connection: AsyncConnection, row: Row, now: datetime, count: int) -> Rescued:
    lost = row.LostWorkers + count
    reason = f"its worker {row.ServerId} was lost"
    state = RunState.ENQUEUED
    if row.CancelRequestedBy is not None:
        state, reason = RunState.CANCELLED, f"cancelled by {row.CancelRequestedBy}; {reason}"
    elif lost >= MOST_LOST_WORKERS:
        state, reason = RunState.FAILED, "three workers were lost while it ran"
    values: Mapping[str, Any] = {
        "State": state,
        "LostWorkers": lost,
        "ServerId": None,
        "Message": reason,
        "DueAt": (
            now if state == RunState.ENQUEUED else row.DueAt
        ),  # the others of its priority go first
        "CompletedAt": None if state == RunState.ENQUEUED else now,
        "LifeLog": job_run.c.LifeLog + life(now, state, reason),
    }
    await connection.execute(sa.update(job_run).where(job_run.c.Id == row.Id).values(values))
    await connection.execute(logged_job.insert().values(_lost_attempt(row, reason, now)))
    return Rescued(row.Id, row.JobName, row.Queue, row.Priority, state, reason)


def _lost_attempt(row: Row, reason: str, now: datetime) -> dict[str, Any]:
    return {
        "JobName": row.JobName,
        "JobId": str(row.Id),
        "JobType": row.JobType,
        "StartedAt": row.StartedAt or now,
        "CompletedAt": now,
        "Success": False,
        "ErrorMessage": reason,
        "ServerName": row.ServerId.partition(":")[0],
        "TriggeredBy": row.TriggeredBy,
        "CreatedAt": now,
        "Attempt": row.Attempt,
        "ScheduledFor": row.ScheduledFor,
    }
