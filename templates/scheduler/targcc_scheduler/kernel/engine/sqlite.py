"""The engine for SQLite: a claim loop over ``c_JobRun``, one machine, no service.

A submit wakes the loop of its own process at once, and sends a wake-up to other processes on the machine. If no wake-up arrives, the loop
notices work of other processes by the write-ahead log: the file changes with every commit.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.clock import Clock, together
from ...core.errors import NodeUnknown
from ...core.outage import OUTAGES, Outage
from ...core.pools import Pool, Turns
from ..runs.values import Claim, Offer, Shared
from .port import Submission, Worker
from .wake_file import WakeFile

log = logging.getLogger("targcc.engine.embedded")

_GLANCE_SECONDS = 0.2
"""Interval between checks of the write-ahead log for commits by other processes. Each check wakes an idle process."""
_STAGE_SECONDS = 0.1
"""Minimum interval between searches for newly due runs while more runs wait than there are workers."""


class EmbeddedEngine:
    """Claim runs directly from ``c_JobRun``.

    Args:
        database: The SQLite file; ``None`` for a database in memory.
        clock: Tells when a run is due.
        poll_seconds: Interval between polls for work, regardless of the file.
        aging: For queues with ageing, the waiting seconds that count as one priority point.
    """

    def __init__(
        self,
        database: Path | None,
        clock: Clock,
        *,
        poll_seconds: float = 1,
        aging: Mapping[str, int] | None = None,
    ) -> None:
        self._log_file = f"{database}-wal" if database else None
        self._nudge = WakeFile(database) if database else None
        self._seen: tuple[int, int] | None = None
        self._clock = clock
        self._poll = timedelta(seconds=poll_seconds)
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining = False
        self._aging = aging or {}
        self._busy = Counter[str]()
        self._tasks: set[asyncio.Task[None]] = set()
        self._plenty: frozenset[str] = frozenset()
        """The queues that may have more runs: the last claim filled all free workers of the queue or its pool."""
        self._staged = float("-inf")
        self._outage = Outage(log, "claiming runs")

    async def open(self) -> None:
        """Remember the scheduler's loop."""
        self._loop = asyncio.get_running_loop()

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Write nothing: the run's own row is its entry. The caller wakes the loop after the commit."""

    async def submits_on(self, connection: AsyncConnection) -> bool:
        """Return true: there is nothing to write."""
        del connection
        return True

    async def withdraw(self, connection: AsyncConnection, run_ids: Sequence[int]) -> None:
        """Write nothing: the run's own row records its end."""

    async def release(
        self,
        connection: AsyncConnection,
        *,
        job_name: str | None = None,
        count: int = 1,
        queue: str | None = None,
    ) -> None:
        """Write nothing: the next claim looks at all waiting runs."""

    async def refer(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Write nothing: the run's own row records its refusals."""

    def wake(self) -> None:
        """Look for work now, here and in other processes."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_all)

    async def work(
        self, worker: Worker, queues: Mapping[str, int], pools: Sequence[Pool] = ()
    ) -> None:
        """Claim and perform runs until drained; return when all begun runs have ended."""
        turns = [Turns(pool) for pool in pools]
        if self._nudge is not None:
            await self._nudge.listen(self._wake.set)
        self._glance()
        while not self._draining:
            claims, until = await self._claim(worker, self._free(queues, turns))
            for claim in claims:
                self._begin(worker, claim)
            if not claims:
                await self._clock.wait(until, self._wake)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def drain(self) -> None:
        """Stop claiming runs."""
        self._draining = True
        self._wake.set()

    async def rescue(self, lost: Sequence[Submission]) -> None:
        """Wake the loop if runs were rescued: their rows in ``c_JobRun`` are enqueued already."""
        if lost:
            self._wake.set()

    async def close(self) -> None:
        """Stop receiving wake-ups."""
        if self._nudge is not None:
            self._nudge.close()

    def _wake_all(self) -> None:
        self._wake.set()
        if self._nudge is not None:
            self._nudge.send()

    def _free(self, queues: Mapping[str, int], pools: Sequence[Turns]) -> Offer:
        """Return the free workers of each queue and pool."""
        alone = {queue: most - self._busy[queue] for queue, most in queues.items()}
        shared = [
            Shared(turns, turns.pool.workers - sum(self._busy[name] for name in turns.pool.queues))
            for turns in pools
        ]
        return Offer(
            wanted={queue: count for queue, count in alone.items() if count > 0},
            shared=[one for one in shared if one.free > 0],
            aging=self._aging,
        )

    async def _claim(self, worker: Worker, free: Offer) -> tuple[list[Claim], datetime]:
        """Claim runs for the free workers; return the claims and the instant of the next poll (used if there are no claims)."""
        poll = self._clock.now() + self._poll
        if not free.queues or worker.holds:
            return [], poll
        try:
            claims, next_due = await self._claim_due(worker, free)
        except OUTAGES as error:
            return [], self._clock.now() + self._outage.failed(error)
        except NodeUnknown:  # the next heartbeat registers the node again
            return [], poll
        self._outage.over()
        self._plenty = (self._plenty - set(free.queues)) | _used_up(free, claims)
        return claims, min(poll, next_due) if next_due else poll

    async def _claim_due(self, worker: Worker, free: Offer) -> tuple[list[Claim], datetime | None]:
        """Stage and claim runs; return the claims and, if no run waits, the next due instant."""

        async def offer(_: AsyncConnection) -> Offer:
            return free

        if not self._plenty.isdisjoint(free.queues):
            if time.monotonic() - self._staged >= _STAGE_SECONDS:
                self._staged = time.monotonic()
                await self._stage_due(worker, free.queues)
            if claims := await worker.claim(offer):
                return claims, None
        waiting, next_due = await self._stage_due(worker, free.queues)
        if not waiting:
            return [], next_due
        return await worker.claim(offer), None

    async def _stage_due(
        self, worker: Worker, queues: Sequence[str]
    ) -> tuple[bool, datetime | None]:
        """Stage runs that are due; return whether runs wait, and the next due instant."""
        waiting, next_due = await worker.due(queues)
        if next_due is not None and next_due <= self._clock.now():
            await worker.stage()
        return waiting, next_due

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

    def _glance(self) -> None:
        """Wake the claim loop if the write-ahead log has changed; schedule the next check."""
        if self._loop is None or self._log_file is None or self._draining:
            return
        seen, self._seen = self._seen, _size_and_time(self._log_file)
        if self._seen != seen:
            self._wake.set()
        self._loop.call_later(together(_GLANCE_SECONDS), self._glance)


def _used_up(free: Offer, claims: Sequence[Claim]) -> set[str]:
    """Return the queues whose claims filled all free workers of the queue or its pool."""
    taken = Counter(claim.queue for claim in claims)
    alone = {queue for queue, count in free.wanted.items() if taken[queue] == count}
    for one in free.shared:
        queues = one.turns.pool.queues
        if sum(taken[queue] for queue in queues) == one.free:
            alone.update(queues)
    return alone


def _size_and_time(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)  # noqa: PTH116 - Path.stat() takes twice as long
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
