"""Poll the database for changes: all waiting callers share a poll, which begins at the earliest requested time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.clock import together
from ..db.transactions import Store
from .changes import PollResult, see

_ENDS_SECONDS = 1.0


def poller_of(store: Store) -> Poller:
    """Return the poller of a database, which all waiting callers share."""
    return store.own(_make)


class Poller:
    """Polls of a database. For use on a single event loop.

    Args:
        read: Provide a connection.
    """

    def __init__(self, read: Callable[[], AbstractAsyncContextManager[AsyncConnection]]) -> None:
        self._read = read
        self._next: asyncio.Future[PollResult] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looking: set[asyncio.Task[None]] = set()

    async def look(self) -> PollResult:
        """Poll now, for the caller alone.

        Raises:
            sqlalchemy.exc.DBAPIError: The database is unavailable.
            DatabaseReplaced: The database is another.
        """
        async with self._read() as connection:
            return await see(connection)

    async def next(self, within: float) -> PollResult:
        """Return the result of the next poll, which begins within the given seconds; raise the errors of :meth:`look`."""
        loop = asyncio.get_running_loop()
        if self._next is None:
            self._next = loop.create_future()
        self._look_at(loop.time() + together(within))
        return await asyncio.shield(self._next)

    def hurry(self) -> None:
        """Start the next poll at once, if a caller waits for a poll."""
        if self._next is not None:
            self._look_at(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Stop polling. A poll under way has 1 s to end by itself, because cancelling a poll would lose its connection."""
        if self._timer is not None:
            self._timer.cancel()
        if self._next is not None:
            self._next.cancel()
        self._next = self._timer = None
        if looking := list(self._looking):
            _, hanging = await asyncio.wait(looking, timeout=_ENDS_SECONDS)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)

    def _look_at(self, instant: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= instant:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(instant, self._begin)

    def _begin(self) -> None:
        asked, self._next, self._timer = self._next, None, None
        assert asked is not None
        task = asyncio.create_task(self._answer(asked), name="targcc look")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _answer(self, asked: asyncio.Future[PollResult]) -> None:
        try:
            asked.set_result(await self.look())
        except asyncio.CancelledError:
            asked.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - each of those who wait deals with it
            asked.set_exception(error)
            with contextlib.suppress(Exception):
                asked.exception()  # mark as retrieved: all callers may have left


def _make(store: Store) -> Poller:
    return Poller(store.read)
