"""What settled runs mean for others: those that go on are submitted again, and those that ended let others go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ..storage.runs.refuse import Waiting
from ..storage.runs.values import Settlement
from ..storage.ties.consequences import Consequences, Ready
from ..storage.ties.ended import ended
from ..storage.webhooks.handlers import note_retries
from .port import Engine, Submission

_HELD_UP = 5
"""More runs of a limited queue that are offered when one ends: the first may be held up by their own jobs' limits."""


async def hand_over(
    engine: Engine, connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> list[Submission]:
    """Tell the engine of settled runs, in the transaction that settled them, and of what hung on them; the submissions it got.

    Args:
        engine: The engine.
        connection: The transaction.
        settled: What :func:`..storage.runs.settle.settle` has written.
        now: The present instant.
    """
    return await hand_on(engine, connection, Consequences(settled=settled), now)


async def hand_on(
    engine: Engine, connection: AsyncConnection, consequences: Consequences, now: datetime
) -> list[Submission]:
    """As :func:`hand_over`, of what has come of something else than ends."""
    submitted: list[Submission] = []
    while consequences.ready or consequences.settled:
        if consequences.ready:
            ready = [submission(run) for run in consequences.ready]
            await engine.submit(connection, ready)
            submitted += ready
        settled = consequences.settled
        await note_retries(connection, settled, now)
        submitted += await _offer(engine, connection, settled)
        consequences = await ended(connection, settled, now)  # which has consequences too
    return submitted


async def _offer(
    engine: Engine, connection: AsyncConnection, settled: Sequence[Settlement]
) -> list[Submission]:
    again = [_submission(item) for item in settled if item.goes_on]
    if again:
        await engine.submit(connection, again)
    limits = {item.claim.job_name: item.claim.limit for item in settled}
    for job, limit in sorted(limits.items()):
        if limit is not None:
            await engine.release(connection, job_name=job, count=limit)
    queues = {item.claim.queue: item.claim.queue_limit for item in settled}
    for queue, limit in sorted(queues.items()):
        if limit is not None:
            await engine.release(connection, queue=queue, count=limit + _HELD_UP)
    return again


def _submission(item: Settlement) -> Submission:
    claim = item.claim
    due_at = item.due_at or claim.due_at
    first = item.cost_a_worker or not item.counts  # its worker was lost, or released it
    return Submission(claim.run_id, claim.queue, claim.priority, due_at, first)


def submission(run: Waiting | Ready) -> Submission:
    """A run that waits from now on; or one that a node has refused, for others."""
    how = {"asks": run.asks, "first": run.first} if isinstance(run, Ready) else {}
    return Submission(run.run_id, run.queue, run.priority, run.due_at, **how)
