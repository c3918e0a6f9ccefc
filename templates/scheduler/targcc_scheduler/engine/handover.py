"""What settled runs mean for an engine: those that go on are submitted again, and those that ended let others go."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from ..storage.runs.values import Settlement
from .port import Engine, Submission


async def hand_over(
    engine: Engine, connection: AsyncConnection, settled: Sequence[Settlement]
) -> list[Submission]:
    """Tell the engine of settled runs, in the transaction that settled them; the submissions it got.

    Args:
        engine: The engine.
        connection: The transaction.
        settled: What :func:`..storage.runs.settle.settle` has written.
    """
    again = [_submission(item) for item in settled if item.goes_on]
    if again:
        await engine.submit(connection, again)
    limits = {item.claim.job_name: item.claim.limit for item in settled}
    for job, limit in sorted(limits.items()):
        if limit is not None:
            await engine.release(connection, job_name=job, count=limit)
    return again


def _submission(item: Settlement) -> Submission:
    claim = item.claim
    return Submission(claim.run_id, claim.queue, claim.priority, item.due_at or claim.due_at)
