"""Keeping the index of runs' texts up to date, behind everybody else."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from ...storage.texts import keeping
from ...storage.transactions import Store
from .pace import Pace

_STEP_SECONDS = 0.03
"""Texts are taken apart on the scheduler's loop, on which all else waits meanwhile."""
_MANY = 50
"""So many runs that ended since the last look mean that the database has better things to do."""
_BESIDE_WORK = 30.0
"""Then the pause after a step is so many times as long as the step: the index may come behind, since searches look at what it lacks."""


class TextKeeper:
    """Does the steps.

    Args:
        store: The database.
        pause: Waits so many seconds, or until all is to end.
    """

    def __init__(self, store: Store, pause: Callable[[float], Awaitable[None]]) -> None:
        self._store = store
        self._wait = pause
        self._usual = Pace.on(store).pause
        self._pace = Pace(_STEP_SECONDS, self._usual)

    async def once(self, ended: Callable[[], bool]) -> None:
        """Take what there is, until all is to end."""
        more = True
        while more and not ended():
            async with self._store.read() as connection:
                waits, unseen = await keeping.waits(connection), await keeping.unseen(connection)
            self._pace.pause = _BESIDE_WORK if waits >= _MANY else self._usual
            more = waits > 0 and await self._step(keeping.step)
            if unseen:
                more = await self._step(keeping.catch_up) or more

    async def _step(self, step: Callable[[AsyncConnection, int], Awaitable[int]]) -> bool:
        started = time.monotonic()
        async with self._store.write() as connection:
            taken = await step(connection, self._pace.size)
        await self._wait(self._pace.learn(time.monotonic() - started))
        return taken > 0
