"""Claim: runs that wait become runs of a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import NodeUnknown, RunStateError
from ...core.states import RunState, sources_of
from ..dialects.postgresql import lock_job
from ..tables import UtcDateTime, job_queue, job_run, job_server
from .stage import WAITS_FOR_ITS_TIME, stage_due
from .transition import life
from .values import MOST_LOST_WORKERS, POISON_AFTER, Claim, Offer

Row = Any
"""A row of ``c_JobRun``: its columns by name."""


async def claim(
    connection: AsyncConnection,
    *,
    server_id: str,
    wanted: Mapping[str, int],
    limits: Mapping[str, int],
    suspect_is_held: bool,
    now: datetime,
) -> list[Claim]:
    """Take the next runs of each queue: highest priority, then longest due, then oldest.

    Only for a database with one writer (SQLite): what is read here does not change before it is written.

    Args:
        connection: A transaction that writes.
        server_id: This node.
        wanted: How many of each queue.
        limits: How many runs of a job may be running at once; a job that is not named has no limit.
        suspect_is_held: Whether this node has a run that has cost workers already (see :data:`SUSPECT`).
        now: The present instant.
    """
    await stage_due(connection, now)
    busy = await _running(connection) if limits else Counter[str]()
    closed = await _paused_queues(connection, now)
    choice = _Choice(limits, busy, suspect_is_held)
    for queue, count in wanted.items():
        if count > 0 and queue not in closed:
            await _choose(connection, choice, queue, count)
    return await _take(connection, choice.rows, server_id, now)


async def claim_offered(
    connection: AsyncConnection,
    offers: Sequence[Offer],
    *,
    server_id: str,
    limits: Mapping[str, int],
    suspect_is_held: bool,
    now: datetime,
) -> list[Claim]:
    """Take those of the runs that wait, are due and have nothing in their way; for engines with a queue of their own.

    A run that its job's limit holds up, or that is suspected of killing workers while this node has such a run, stays enqueued;
    whoever opens the way submits it again, or else the engine's rescue.

    Args:
        connection: A transaction that writes.
        offers: The runs, the most urgent first.
        server_id: This node.
        limits: How many runs of a job may be running at once; a job that is not named has no limit.
        suspect_is_held: Whether this node has a run that has cost workers already (see :data:`SUSPECT`).
        now: The present instant.

    Raises:
        NodeUnknown: this node was taken for dead.
    """
    free = [offer.run_id for offer in offers if offer.job_name not in limits]
    claims = await _take_free(connection, free, server_id, now) if free else []
    taken = {claim.run_id for claim in claims}
    if rest := [offer for offer in offers if offer.run_id not in taken]:
        if not await connection.scalar(_IS_KNOWN, {"server_id": server_id}):
            raise NodeUnknown(f"node {server_id} was taken for dead")
        rows = await _choose_offered(connection, rest, limits, suspect_is_held, now)
        claims += await _take(connection, rows, server_id, now)
    places = {offer.run_id: place for place, offer in enumerate(offers)}
    return sorted(claims, key=lambda claim: places[claim.run_id])


async def _choose_offered(
    connection: AsyncConnection,
    offers: Sequence[Offer],
    limits: Mapping[str, int],
    suspect_is_held: bool,  # noqa: FBT001 - passed on from claim_offered(), where it has a name
    now: datetime,
) -> list[Row]:
    limited = sorted({offer.job_name for offer in offers} & limits.keys())
    for name in limited:  # always in the same order, so that no two nodes wait for each other
        await lock_job(connection, name)
    busy = await _running(connection) if limited else Counter[str]()
    asked = {"ids": [offer.run_id for offer in offers], "now": now}
    found = {row.Id: row for row in (await connection.execute(_OFFERED, asked)).all()}
    choice = _Choice(limits, busy, suspect_is_held)
    for offer in offers:
        if offer.run_id in found:
            choice.take(found[offer.run_id])
    return choice.rows


_CLAIMED = (
    job_run.c.Id,
    job_run.c.State,
    job_run.c.JobName,
    job_run.c.JobType,
    job_run.c.Queue,
    job_run.c.Priority,
    job_run.c.Attempt,
    job_run.c.LostWorkers,
    job_run.c.ArgumentsJson,
    job_run.c.ScheduledFor,
    job_run.c.CreatedAt,
    job_run.c.DueAt,
    job_run.c.TriggeredBy,
)


_COUNT_RUNNING = (
    sa.select(job_run.c.JobName, sa.func.count())
    .where(job_run.c.State == RunState.RUNNING)
    .group_by(job_run.c.JobName)
)
_PAUSED = sa.select(job_queue.c.Name).where(
    job_queue.c.PausedAt.is_not(None),
    sa.or_(
        job_queue.c.PausedUntil.is_(None),
        job_queue.c.PausedUntil > sa.bindparam("now", type_=UtcDateTime),
    ),
)


async def _running(connection: AsyncConnection) -> Counter[str]:
    rows = (await connection.execute(_COUNT_RUNNING)).all()
    return Counter({row[0]: row[1] for row in rows})


async def _paused_queues(connection: AsyncConnection, now: datetime) -> frozenset[str]:
    return frozenset(await connection.scalars(_PAUSED, {"now": now}))


_NEXT = (
    sa.select(*_CLAIMED)
    .where(
        job_run.c.State == RunState.ENQUEUED,
        job_run.c.Queue == sa.bindparam("queue"),
        job_run.c.JobName.not_in(sa.bindparam("full", expanding=True)),
        job_run.c.Id.not_in(sa.bindparam("taken", expanding=True)),
        job_run.c.LostWorkers <= sa.bindparam("most_lost"),
    )
    .order_by(job_run.c.Priority.desc(), job_run.c.DueAt, job_run.c.Id)
    .limit(sa.bindparam("count"))
)


@dataclass
class _Choice:
    """The runs that a claim takes, and what stands in the way of more."""

    limits: Mapping[str, int]
    busy: Counter[str]
    suspect: bool
    rows: list[Row] = field(default_factory=list)

    def full(self) -> list[str]:
        """The jobs at their limit."""
        return [name for name, limit in self.limits.items() if self.busy[name] >= limit]

    def take(self, row: Row) -> bool:
        """Take a run if nothing is in its way, and say whether."""
        limit, suspect = self.limits.get(row.JobName), row.LostWorkers >= POISON_AFTER
        if (limit is not None and self.busy[row.JobName] >= limit) or (suspect and self.suspect):
            return False
        self.busy[row.JobName] += 1
        self.suspect = self.suspect or suspect
        self.rows.append(row)
        return True


async def _choose(connection: AsyncConnection, choice: _Choice, queue: str, count: int) -> None:
    """Choose up to ``count`` runs of a queue that may start now."""
    while count > 0:
        asked = {
            "queue": queue,
            "full": choice.full(),
            "taken": [row.Id for row in choice.rows],
            "most_lost": POISON_AFTER - 1 if choice.suspect else MOST_LOST_WORKERS,
            "count": count,
        }
        candidates = (await connection.execute(_NEXT, asked)).all()
        exhausted = len(candidates) < count
        count -= sum(choice.take(row) for row in candidates)
        if exhausted:
            return


_TAKEN: dict[str, Any] = {
    "State": RunState.RUNNING,
    "ServerId": sa.bindparam("server_id"),
    "StartedAt": sa.bindparam("now", type_=UtcDateTime),
    "Attempt": job_run.c.Attempt + 1,
    "Message": None,
    "ProgressDone": None,
    "ProgressTotal": None,
    "LifeLog": job_run.c.LifeLog + sa.bindparam("line", type_=sa.UnicodeText),
}
_TAKE = (
    sa.update(job_run)
    .where(
        job_run.c.Id.in_(sa.bindparam("ids", expanding=True)),
        job_run.c.State.in_(sources_of(RunState.RUNNING)),
    )
    .values(_TAKEN)
)


async def _take(
    connection: AsyncConnection, rows: Sequence[Row], server_id: str, now: datetime
) -> list[Claim]:
    if not rows:
        return []
    taken = await connection.execute(
        _TAKE,
        {
            "ids": [row.Id for row in rows],
            "server_id": server_id,
            "now": now,
            "line": life(now, RunState.RUNNING, f"on {server_id}"),
        },
    )
    if taken.rowcount != len(rows):
        raise RunStateError("a run changed while it was being claimed")
    return [_claim(row, server_id, now) for row in rows]


# The database's clock counts too: by it an engine finds that a run is due, and this node's may be behind.
_IS_DUE = sa.or_(
    job_run.c.State == RunState.ENQUEUED,
    sa.and_(
        job_run.c.State.in_(WAITS_FOR_ITS_TIME),
        sa.or_(
            job_run.c.DueAt <= sa.bindparam("now", type_=UtcDateTime),
            job_run.c.DueAt <= sa.func.now(),
        ),
    ),
)
_IS_OFFERED = sa.and_(job_run.c.Id.in_(sa.bindparam("ids", expanding=True)), _IS_DUE)
# Whoever holds the row lets the run go, and then it is offered anew, or takes it.
_OFFERED = sa.select(*_CLAIMED).where(_IS_OFFERED).with_for_update(skip_locked=True)
_IS_KNOWN = sa.select(sa.exists().where(job_server.c.Id == sa.bindparam("server_id")))
_TAKE_FREE = (
    sa.update(job_run)
    .where(
        _IS_OFFERED,
        job_run.c.LostWorkers < POISON_AFTER,
        sa.exists().where(job_server.c.Id == sa.bindparam("server_id")),
    )
    .values(_TAKEN)
    .returning(
        *(column for column in _CLAIMED if column is not job_run.c.Attempt),
        (job_run.c.Attempt - 1).label("Attempt"),
    )
)


async def _take_free(
    connection: AsyncConnection, run_ids: Sequence[int], server_id: str, now: datetime
) -> list[Claim]:
    """Take runs of jobs without a limit; one statement."""
    asked = {
        "ids": run_ids,
        "server_id": server_id,
        "now": now,
        "line": life(now, RunState.RUNNING, f"on {server_id}"),
    }
    taken = await connection.execute(_TAKE_FREE, asked)
    return [_claim(row, server_id, now) for row in taken.all()]


def _claim(row: Row, server_id: str, now: datetime) -> Claim:
    return Claim(
        run_id=row.Id,
        job_name=row.JobName,
        job_type=row.JobType,
        queue=row.Queue,
        priority=row.Priority,
        attempt=row.Attempt + 1,
        lost_workers=row.LostWorkers,
        arguments_json=row.ArgumentsJson,
        scheduled_for=row.ScheduledFor,
        created_at=row.CreatedAt,
        due_at=row.DueAt,
        triggered_by=row.TriggeredBy,
        server_id=server_id,
        started_at=now,
    )
