"""The engine for SQLite: a claim loop over ``c_JobRun``, one machine, no service.

A submit in the same process wakes the loop at once. Work that another process on the machine created is noticed by the
write-ahead log of the database, whose file changes with every commit: looking at it costs a system call.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.clock import Clock
from ..core.outage import OUTAGES, Outage
from ..storage.runs.values import Claim
from .port import Submission, Worker

log = logging.getLogger("targcc.engine.embedded")

_GLANCE_SECONDS = 0.03
"""How often to look at the write-ahead log for commits of other processes."""


class EmbeddedEngine:
    """Claims runs from our own table.

    Args:
        database: The SQLite file; ``None`` for one in memory.
        clock: Tells when a run is due.
        poll_seconds: How often to look for work whatever the file says.
    """

    def __init__(self, database: Path | None, clock: Clock, *, poll_seconds: float = 1) -> None:
        self._log_file = database.with_name(database.name + "-wal") if database else None
        self._clock = clock
        self._poll = timedelta(seconds=poll_seconds)
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining = False
        self._busy = Counter[str]()
        self._tasks: set[asyncio.Task[None]] = set()
        self._plenty = False
        self._outage = Outage(log, "claiming runs")

    async def open(self) -> None:
        """Remember the home loop."""
        self._loop = asyncio.get_running_loop()

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Nothing to write: the run's own row is its entry. The caller wakes the loop after the commit."""

    async def withdraw(self, connection: AsyncConnection, run_ids: Sequence[int]) -> None:
        """Nothing to write: the run's own row says that it is over."""

    async def release(
        self,
        connection: AsyncConnection,
        *,
        job_name: str | None = None,
        queue: str | None = None,
    ) -> None:
        """Nothing to write: the next claim looks again."""

    def wake(self) -> None:
        """Look for work now."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def work(self, worker: Worker, queues: Mapping[str, int]) -> None:
        """Claim and perform, until drained."""
        glance = asyncio.create_task(self._watch_log_file())
        try:
            while not self._draining:
                claims, until = await self._claim(worker, queues)
                for claim in claims:
                    self._begin(worker, claim)
                if not claims:
                    await self._clock.wait(until, self._wake)
        finally:
            glance.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def drain(self) -> None:
        """Claim nothing more."""
        self._draining = True
        self._wake.set()

    async def rescue(self, lost: Sequence[Submission]) -> None:
        """Nothing to look after: rescued runs are enqueued in our own table."""
        if lost:
            self._wake.set()

    async def close(self) -> None:
        """Nothing to give back."""

    async def _claim(
        self, worker: Worker, queues: Mapping[str, int]
    ) -> tuple[list[Claim], datetime]:
        """What can be begun now; if nothing, when to look again."""
        free = {queue: most - self._busy[queue] for queue, most in queues.items()}
        free = {queue: count for queue, count in free.items() if count > 0}
        poll = self._clock.now() + self._poll
        if not free:
            return [], poll
        try:
            waiting, next_due = (True, None) if self._plenty else await worker.due(free.keys())
            claims = await worker.claim(free) if waiting else []
        except OUTAGES as error:
            return [], self._clock.now() + self._outage.failed(error)
        self._outage.over()
        self._plenty = len(claims) == sum(free.values())  # then there may be more
        return claims, min(poll, next_due) if next_due and not waiting else poll

    def _begin(self, worker: Worker, claim: Claim) -> None:
        self._busy[claim.queue] += 1
        task = asyncio.create_task(worker.perform(claim), name=f"run {claim.run_id}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, claim))

    def _ended(self, task: asyncio.Task[None], claim: Claim) -> None:
        self._tasks.discard(task)
        self._busy[claim.queue] -= 1
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("run %d ended with a fault of the scheduler", claim.run_id, exc_info=error)

    async def _watch_log_file(self) -> None:
        seen = self._glance()
        while True:
            await asyncio.sleep(_GLANCE_SECONDS)
            now = self._glance()
            if now != seen:
                seen = now
                self._wake.set()

    def _glance(self) -> tuple[int, int] | None:
        if self._log_file is None:
            return None
        try:
            status = self._log_file.stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns
