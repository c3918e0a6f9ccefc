"""The engine for SQLite: a claim loop over ``c_JobRun``, one machine, no service.

A submit in the same process wakes the loop at once. Work that another process on the machine created is noticed by the
write-ahead log of the database, whose file changes with every commit: looking at it costs a system call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.clock import Clock
from ..core.errors import NodeUnknown
from ..core.outage import OUTAGES, Outage
from ..storage.runs.values import Claim, Offer
from .port import Submission, Worker

log = logging.getLogger("targcc.engine.embedded")

_GLANCE_SECONDS = 0.03
"""How often to look at the write-ahead log for commits of other processes."""
_STAGE_SECONDS = 0.1
"""How often to look for runs that became due while more wait than there are workers."""


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
        self._staged = float("-inf")
        self._outage = Outage(log, "claiming runs")

    async def open(self) -> None:
        """Remember the scheduler's loop."""
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
        count: int = 1,
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
        """Nothing to return."""

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
            claims, next_due = await self._claim_due(worker, free)
        except OUTAGES as error:
            return [], self._clock.now() + self._outage.failed(error)
        except NodeUnknown:  # the next heartbeat finds out, and registers again
            return [], poll
        self._outage.over()
        self._plenty = len(claims) == sum(free.values())  # then there may be more
        return claims, min(poll, next_due) if next_due else poll

    async def _claim_due(
        self, worker: Worker, free: Mapping[str, int]
    ) -> tuple[list[Claim], datetime | None]:
        """Stage and claim; when the next run is due, if nothing waits now."""
        if self._plenty:
            stage = time.monotonic() - self._staged >= _STAGE_SECONDS
        else:
            waiting, next_due = await worker.due(free.keys())
            if not waiting:
                return [], next_due
            stage = next_due is not None and next_due <= self._clock.now()
        if stage:
            self._staged = time.monotonic()
            await worker.stage()

        async def offer(_: AsyncConnection) -> Offer:
            return Offer(wanted=free)

        return await worker.claim(offer), None

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
