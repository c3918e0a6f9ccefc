"""The pruner: it removes what is old, so that the tables do not grow for ever, and lets everybody else go first."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ..storage import retention
from ..storage.retention import HISTORY, RUNS, Kept, OldRow
from ..storage.transactions import Store

_STEP_SECONDS = 0.03
"""How long one transaction may take; its number of rows follows from how long the last one took."""
_LEAST, _MOST = 100, 2_000

Progress = Callable[[Counter[str]], None]


async def prune(
    store: Store, *, before: datetime, keep_last: int, progress: Progress | None = None
) -> dict[str, int]:
    """Remove what ended before an instant, in small transactions with pauses between; the newest of each job stay.

    It can be stopped at any time and begun again: what is removed is removed, and the rest is found anew.

    Args:
        store: The database.
        before: What ended earlier goes.
        keep_last: How many runs, and attempts in the history, stay of each job whatever their age.
        progress: Hears how many have gone so far, after each step.

    Returns:
        How many ``runs``, ``attempts`` and ``audit`` rows were removed.
    """
    pruner = _Pruner(store, before, keep_last, progress)
    await pruner.remove("runs", RUNS)
    await pruner.remove("attempts", HISTORY)
    await pruner.remove_audit()
    return {name: pruner.removed[name] for name in ("runs", "attempts", "audit")}


class _Pruner:
    """One pass over the tables."""

    def __init__(
        self, store: Store, before: datetime, keep_last: int, progress: Progress | None
    ) -> None:
        self.removed: Counter[str] = Counter()
        self._store = store
        self._before = before
        self._keep = keep_last
        self._progress = progress
        self._size = _LEAST

    async def remove(self, what: str, kept: Kept) -> None:
        """Remove the old rows of a table."""
        borders: dict[str, int] = {}
        seen: OldRow | None = None

        async def step(connection: AsyncConnection) -> int:
            nonlocal seen
            rows = await retention.old_rows(
                connection, kept, before=self._before, after=seen, most=self._size
            )
            for job in {row.job for row in rows} - borders.keys():
                borders[job] = await retention.border(connection, kept, job, self._keep)
            keys = [row.key for row in rows if row.key <= borders[row.job]]
            await retention.remove(connection, kept, keys)
            seen = rows[-1] if len(rows) == self._size else None
            return len(keys)

        await self._step(what, step)
        while seen is not None:
            await self._step(what, step)

    async def remove_audit(self) -> None:
        """Remove the old rows of the audit."""

        async def step(connection: AsyncConnection) -> int:
            return await retention.remove_audit(connection, before=self._before, most=self._size)

        while await self._step("audit", step):
            pass

    async def _step(self, what: str, step: Callable[[AsyncConnection], Awaitable[int]]) -> int:
        """One transaction, and half as long a pause: whoever waits for the database gets it in between."""
        started = time.monotonic()
        async with self._store.write() as connection:
            removed = await step(connection)
        taken = time.monotonic() - started
        self._size = _next_size(self._size, taken)
        if removed:
            self.removed[what] += removed
            if self._progress is not None:
                self._progress(self.removed)
        await asyncio.sleep(min(taken / 2, _STEP_SECONDS))
        return removed


def _next_size(size: int, taken: float) -> int:
    """More rows when the step was quick, fewer when it was slow; never more than double."""
    wanted = size * _STEP_SECONDS / max(taken, 0.001)
    return max(_LEAST, min(_MOST, size * 2, int(wanted)))
