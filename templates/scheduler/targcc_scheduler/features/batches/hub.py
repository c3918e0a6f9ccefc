"""Where open streams hear of batches and flows: one loop looks for all of them, as for runs, while there is somebody to tell."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AbstractContextManager

from ...web.hubs import PollLoop, Read
from .queries import BatchStatus, batch_statuses

_ROUND_SECONDS = 1.0


class BatchWatcher:
    """Somebody who watches one batch or flow.

    Args:
        batch_id: The batch or flow.
    """

    def __init__(self, batch_id: int) -> None:
        self.batch_id = batch_id
        self.status: BatchStatus | None = None
        self.ended = False
        """It is over, or gone (then :attr:`status` is ``None``)."""
        self._news = asyncio.Event()

    def hear(self, status: BatchStatus | None) -> None:
        """What a round has found."""
        self.ended = status is None or status.final
        if status != self.status or self.ended:
            self._news.set()
        self.status = status

    async def news(self, seconds: float) -> None:
        """Wait for something to change, at most so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()


class BatchHub:
    """Looks at the batches and flows that somebody watches. For one event loop.

    Args:
        read: Answers a query from the scheduler's database.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rounds = PollLoop[BatchWatcher]("following batches for open pages", self._round)

    def watch(self, batch_id: int) -> AbstractContextManager[BatchWatcher]:
        """Hear of a batch or flow for as long as the context lasts."""
        return self._rounds.join(BatchWatcher(batch_id))

    async def _round(self) -> float:
        """One look; the seconds until the next."""
        watchers = [one for one in self._rounds.listeners if not one.ended]
        ids = {one.batch_id for one in watchers}
        if ids:
            found = await self._read(lambda db: batch_statuses(db, ids))
            for one in watchers:
                one.hear(found.get(one.batch_id))
        return _ROUND_SECONDS
