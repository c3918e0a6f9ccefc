"""Which runs a claim may take: what waits, what is in the way, and which of them go first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ..dialects import known
from ..tables import UtcDateTime, job_queue, job_run
from .stage import WAITS_FOR_ITS_TIME
from .values import MOST_LOST_WORKERS, POISON_AFTER, ClaimTerms, OfferedRun

# The database's clock counts too: by it an engine finds that a run is due, and this node's may be behind.
IS_DUE = sa.or_(
    job_run.c.State == RunState.ENQUEUED,
    sa.and_(
        job_run.c.State.in_(WAITS_FOR_ITS_TIME),
        sa.or_(
            job_run.c.DueAt <= sa.bindparam("now", type_=UtcDateTime),
            job_run.c.DueAt <= sa.func.now(),
        ),
    ),
)
"""That a run may start; its parameter ``now`` is the node's clock."""

IS_ONE_OF = job_run.c.Id.in_(sa.bindparam("ids", expanding=True))
"""That a run is one of ``ids``."""

_CANDIDATE = (job_run.c.Id, job_run.c.JobName, job_run.c.LostWorkers)
# Whoever holds a row lets the run go, and then it is offered anew, or takes it. SQLite, with one writer, has nothing to skip.
_OFFERED = sa.select(*_CANDIDATE).where(IS_ONE_OF, IS_DUE).with_for_update(skip_locked=True)
_NEXT_WAITING = (
    sa.select(*_CANDIDATE)
    .where(
        job_run.c.State == RunState.ENQUEUED,
        job_run.c.Queue == sa.bindparam("queue"),
        job_run.c.JobName.not_in(sa.bindparam("full", expanding=True)),
        job_run.c.Id.not_in(sa.bindparam("chosen", expanding=True)),
        job_run.c.LostWorkers <= sa.bindparam("most_lost"),
    )
    .order_by(job_run.c.Priority.desc(), job_run.c.DueAt, job_run.c.Id)
    .limit(sa.bindparam("count"))
    .with_for_update(skip_locked=True)
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


@dataclass
class Choice:
    """The runs that a claim takes, and what stands in the way of more.

    Args:
        limits: How many runs of a job may be running at once; a job that is not named has no limit.
        busy: How many are.
        poison: Whether a poison run is on this node.
    """

    limits: Mapping[str, int]
    busy: Counter[str]
    poison: bool
    run_ids: list[int] = field(default_factory=list)

    def full(self) -> list[str]:
        """The jobs at their limit."""
        return [name for name, limit in self.limits.items() if self.busy[name] >= limit]

    def take(self, row: Any) -> bool:
        """Take a run if nothing is in its way, and say whether."""
        limit, poison = self.limits.get(row.JobName), row.LostWorkers >= POISON_AFTER
        if (limit is not None and self.busy[row.JobName] >= limit) or (poison and self.poison):
            return False
        self.busy[row.JobName] += 1
        self.poison = self.poison or poison
        self.run_ids.append(row.Id)
        return True


async def next_waiting(
    connection: AsyncConnection, wanted: Mapping[str, int], terms: ClaimTerms
) -> list[int]:
    """The next runs of each queue that is not paused: highest priority, then longest due, then oldest."""
    if not wanted:
        return []
    busy = await _running(connection, terms.limits)
    choice = Choice(terms.limits, busy, terms.poison_here)
    paused = frozenset(await connection.scalars(_PAUSED, {"now": terms.now}))
    for queue, count in wanted.items():
        if count > 0 and queue not in paused:
            await _choose(connection, choice, queue, count)
    return choice.run_ids


async def offered(
    connection: AsyncConnection, runs: Sequence[OfferedRun], terms: ClaimTerms
) -> list[int]:
    """Those of the runs that are due and have nothing in their way."""
    names = {run.job_name for run in runs}
    limits = {name: limit for name, limit in terms.limits.items() if name in names}
    choice = Choice(limits, await _running(connection, limits), terms.poison_here)
    asked = {"ids": [run.run_id for run in runs], "now": terms.now}
    found = {row.Id: row for row in (await connection.execute(_OFFERED, asked)).all()}
    for run in runs:
        if run.run_id in found:
            choice.take(found[run.run_id])
    return choice.run_ids


async def _running(connection: AsyncConnection, limited: Collection[str]) -> Counter[str]:
    """How many runs of each job are running; for the limited ones nobody else changes that until the transaction ends."""
    if not limited:
        return Counter()
    await _lock(connection, limited)
    return Counter({row[0]: row[1] for row in (await connection.execute(_COUNT_RUNNING)).all()})


async def _lock(connection: AsyncConnection, jobs: Iterable[str]) -> None:
    dialect = known.of(connection)
    for name in sorted(jobs):  # always in the same order, so that no two nodes wait for each other
        await dialect.lock_job(connection, name)


async def _choose(connection: AsyncConnection, choice: Choice, queue: str, count: int) -> None:
    """Choose up to ``count`` runs of a queue that may start now."""
    while count > 0:
        asked = {
            "queue": queue,
            "full": choice.full(),
            "chosen": choice.run_ids,
            "most_lost": POISON_AFTER - 1 if choice.poison else MOST_LOST_WORKERS,
            "count": count,
        }
        candidates = (await connection.execute(_NEXT_WAITING, asked)).all()
        exhausted = len(candidates) < count
        count -= sum(choice.take(row) for row in candidates)
        if exhausted:
            return
