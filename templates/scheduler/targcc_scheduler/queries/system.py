"""Reading the state of the system: nodes, queues, pauses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import UnknownQueue
from ..core.queues.pool import pools_of
from ..core.states import RunState
from ..jobs.definition import JobDefinition
from ..project import current
from ..storage.maintenance import rows as windows
from ..storage.tables import job_queue, job_run, job_schedule, job_server
from .models import Pause, PoolUse, Queue, Server, pause_of


async def pauses(connection: AsyncConnection, now: datetime) -> dict[str, Pause]:
    """The jobs that are paused at ``now``."""
    statement = sa.select(job_schedule).where(job_schedule.c.PausedAt.is_not(None))
    found = {row.JobName: pause_of(row, now) for row in await connection.execute(statement)}
    return {name: pause for name, pause in found.items() if pause is not None}


async def servers(connection: AsyncConnection) -> tuple[Server, ...]:
    """The nodes, with how many runs each is running."""
    busy = await _count_by(connection, job_run.c.ServerId, job_run.c.State == RunState.RUNNING)
    rows = await connection.execute(sa.select(job_server).order_by(job_server.c.StartedAt))
    return tuple(
        Server(
            id=row.Id,
            name=row.Name,
            process_id=row.ProcessId,
            queues=tuple(name.strip() for name in row.Queues.split(",") if name.strip()),
            workers=row.Workers,
            version=row.Version,
            started_at=row.StartedAt,
            heartbeat_at=row.HeartbeatAt,
            stopping_at=row.StoppingAt,
            release=row.Release,
            fingerprint=row.Fingerprint,
            drain_requested_by=row.DrainRequestedBy,
            drain_requested_at=row.DrainRequestedAt,
            clock_offset_ms=row.ClockOffsetMs,
            stuck_since=row.StuckSince,
            stuck_in=row.StuckIn,
            running=busy.get(row.Id, 0),
        )
        for row in rows
    )


async def _count_by(
    connection: AsyncConnection, column: sa.ColumnElement[Any], *where: sa.ColumnElement[bool]
) -> dict[Any, int]:
    statement = sa.select(column, sa.func.count()).where(*where).group_by(column)
    return {row[0]: row[1] for row in await connection.execute(statement)}


async def queues(
    connection: AsyncConnection, names: Iterable[str], now: datetime, *, lost_after: float
) -> tuple[Queue, ...]:
    """The queues in ``names`` and any other that runs wait in or that is paused.

    Args:
        connection: The database.
        names: The queues.
        now: The present instant.
        lost_after: After so many seconds without a heartbeat a server has no workers any more.
    """
    c = job_run.c
    active = [RunState.SCHEDULED, RunState.ENQUEUED, RunState.RETRYING, RunState.RUNNING]
    statement = (
        sa.select(c.Queue, c.State, sa.func.count(), sa.func.min(c.DueAt, type_=c.DueAt.type))
        .where(c.State.in_(active))
        .group_by(c.Queue, c.State)
    )
    counts: dict[tuple[str, str], int] = {}
    oldest: dict[str, datetime] = {}
    for queue, state, count, due in await connection.execute(statement):
        counts[queue, state] = count
        if state == RunState.ENQUEUED:
            oldest[queue] = due
    rows = (await connection.execute(sa.select(job_queue))).all()
    paused = {row.Name: pause for row in rows if (pause := pause_of(row, now)) is not None}
    closed = await windows.active(connection, now)
    running = {name: counts.get((name, RunState.RUNNING), 0) for name, _ in counts}
    pools = await _pools(connection, running, now - timedelta(seconds=lost_after))
    every = [*dict.fromkeys([*names, *sorted({*paused, *(name for name, _ in counts)})])]
    return tuple(
        Queue(
            name=name,
            waiting=counts.get((name, RunState.ENQUEUED), 0),
            scheduled=counts.get((name, RunState.SCHEDULED), 0),
            retrying=counts.get((name, RunState.RETRYING), 0),
            running=counts.get((name, RunState.RUNNING), 0),
            oldest_due=oldest.get(name),
            pause=paused.get(name),
            limit=current().queue_limits.get(name),
            maintenance=next((one for one in closed if one.covers(name)), None),
            aging_seconds=current().queue_aging.get(name),
            pool=pools.get(name),
        )
        for name in every
    )


async def _pools(
    connection: AsyncConnection, running: Mapping[str, int], heard_since: datetime
) -> dict[str, PoolUse]:
    """By queue the pool whose workers it shares, if it does."""
    found: dict[str, PoolUse] = {}
    every = await servers(connection) if current().pools else ()
    nodes = [one for one in every if one.takes_runs and one.heartbeat_at >= heard_since]
    for pool in pools_of(current().pools):
        names = set(pool.queues)
        theirs = [one for one in nodes if not names.isdisjoint(one.queues)]
        busy, workers = sum(running.get(name, 0) for name in names), len(theirs) * pool.workers
        order = "strict" if pool.strict else "weighted"
        for name, weight in pool.weights.items():
            shown = None if pool.strict else weight
            found[name] = PoolUse(pool.name, order, shown, busy, workers)
    return found


def queue_names(definitions: Iterable[JobDefinition]) -> list[str]:
    """The project's queues, and those that only a job names."""
    return list(dict.fromkeys([*current().queues, *sorted(job.queue for job in definitions)]))


def check_queue(name: str, definitions: Iterable[JobDefinition]) -> None:
    """Check that there is a queue of this name.

    Raises:
        UnknownQueue: there is none; the message lists those that there are.
    """
    known = queue_names(definitions)
    if name not in known:
        raise UnknownQueue(f"there is no queue {name!r}: {', '.join(known)}")
