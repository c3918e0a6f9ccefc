"""Poll batches and flows for open event streams. One loop polls for all streams, only while a stream is open."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AbstractContextManager

from ...web.hubs import PollLoop, Read
from ...web.state import Web
from .queries import BatchStatus, batch_statuses

_ROUND_SECONDS = 1.0


class BatchWatcher:
    """A listener for one batch or flow.

    Args:
        batch_id: Id of the batch or flow.
    """

    def __init__(self, batch_id: int) -> None:
        self.batch_id = batch_id
        self.status: BatchStatus | None = None
        self.ended = False
        """Whether the batch or flow is over, or deleted (then :attr:`status` is ``None``)."""
        self._news = asyncio.Event()

    def hear(self, status: BatchStatus | None) -> None:
        """Receive the polled status, and wake :meth:`news` if the status has changed or is final."""
        self.ended = status is None or status.final
        if status != self.status or self.ended:
            self._news.set()
        self.status = status

    async def news(self, seconds: float) -> None:
        """Wait for a change, at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()


def batch_hub(web: Web) -> BatchHub:
    """Return the hub of an app."""
    return BatchHub(web.scheduler.read)


class BatchHub:
    """Poll the batches and flows of all listeners. Belongs to one event loop.

    Args:
        read: Run a query in the scheduler's database.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rounds = PollLoop[BatchWatcher]("following batches for open pages", self._round)

    def watch(self, batch_id: int) -> AbstractContextManager[BatchWatcher]:
        """Listen to a batch or flow within a context."""
        return self._rounds.join(BatchWatcher(batch_id))

    async def _round(self) -> float:
        """Poll once, and return the seconds until the next poll."""
        watchers = [watcher for watcher in self._rounds.listeners if not watcher.ended]
        ids = {watcher.batch_id for watcher in watchers}
        if ids:
            statuses = await self._read(lambda db: batch_statuses(db, ids))
            for watcher in watchers:
                watcher.hear(statuses.get(watcher.batch_id))
        return _ROUND_SECONDS
