"""Nodes, their heartbeats, and the rescue of runs whose node was lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import RunState
from .runs.claim import Row, claim_of
from .runs.settle import settle
from .runs.values import MOST_LOST_WORKERS, AttemptRecord, Claim, Settlement
from .tables import job_run, job_server


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


async def beat(connection: AsyncConnection, server_id: str, now: datetime) -> bool:
    """Say that a node is alive. ``False`` when its row is gone: another node declared it lost."""
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


async def remove_lost(connection: AsyncConnection, lost: Beat) -> bool:
    """Remove a node that is declared lost, unless it has said something meanwhile or is removed already."""
    result = await connection.execute(
        sa.delete(job_server).where(
            job_server.c.Id == lost.server_id, job_server.c.HeartbeatAt == lost.at
        )
    )
    return result.rowcount == 1


async def has_orphans(connection: AsyncConnection) -> bool:
    """Whether a running run belongs to a node that does not exist."""
    return bool(await connection.scalar(sa.select(sa.exists().where(_orphan()))))


async def rescue(
    connection: AsyncConnection,
    now: datetime,
    *,
    limits: Mapping[str, int],
    count_as_lost: bool = True,
) -> list[Settlement]:
    """Settle every run that belongs to a node which does not exist; what became of them.

    It is enqueued again; its third lost worker makes it failed; one that somebody wanted cancelled is cancelled. The lost attempt gets
    its row of history. What goes on is still to be submitted to the engine, in the same transaction.

    Args:
        connection: A transaction that writes.
        now: The present instant.
        limits: The jobs of which only so many runs may be running at once.
        count_as_lost: ``False`` for a node that deregisters and leaves a run behind: that is not the run's fault.
    """
    rows = (await connection.execute(sa.select(job_run).where(_orphan()).with_for_update())).all()
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
        due_at=now if state == RunState.ENQUEUED else None,  # the others of its priority go first
        cost_a_worker=counts,
        attempt=AttemptRecord(ended_at=now, success=False, server=server, message=reason),
    )
