"""The pruner: removes what ended long ago, so that the tables do not grow for ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ..storage import retention
from ..storage.transactions import Store


async def prune(store: Store, *, before: datetime, keep_last: int) -> dict[str, int]:
    """Remove what ended before an instant, in small transactions; the newest of each job stay.

    Args:
        store: The database.
        before: What ended earlier goes.
        keep_last: How many runs, and attempts in the history, stay of each job whatever their age.

    Returns:
        How many ``runs``, ``attempts`` and ``audit`` rows were removed.
    """
    return {
        "runs": await _all(
            store, lambda connection: retention.prune_runs(connection, before, keep_last)
        ),
        "attempts": await _all(
            store, lambda connection: retention.prune_history(connection, before, keep_last)
        ),
        "audit": await _all(store, lambda connection: retention.prune_audit(connection, before)),
    }


async def _all(store: Store, batch: Callable[[AsyncConnection], Awaitable[int]]) -> int:
    total = 0
    while True:
        async with store.write() as connection:
            removed = await batch(connection)
        total += removed
        if removed < retention.BATCH:
            return total
