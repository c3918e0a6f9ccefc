"""The engine for SQLite: a claim loop over ``c_JobRun``, one machine, no service.

A submit wakes the loop of its own process at once, and sends a wake-up to other processes on the machine. If no wake-up arrives, the loop
notices work of other processes by the write-ahead log: the file changes with every commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.clock import Clock, together
from ...core.errors import NodeUnknown
from ...core.outage import OUTAGES, Outage
from ...core.pools import Pool, Turns
from ...db.transactions import Fence, Store
from ..runs.create import insert_many, new_row
from ..runs.values import Claim, NewRun, Offer, RunId, Shared
from .port import Submission, Worker

# Wake the other processes of a machine that use the same database file.

log = logging.getLogger("targcc.engine.sqlite")

_LOOPBACK = "127.0.0.1"
_PORTS = range(20_000, 30_000)
"""Port range below the ports that systems assign to outgoing connections."""
_WAKE_SECONDS = 0.001
_GATHER_SECONDS = 0.005
"""Interval after a wake-up in which further wake-ups are merged."""


class WakeFile:
    """Send and receive wake-ups: datagrams to a multicast group on the loopback interface. The sender need not know the listeners.

    A datagram does not leave the machine. A datagram contains only a digest of the file's path and the sender's random id. A wake-up is a hint:
    if none arrives, such as between containers, the engine finds the work itself a moment later. For use on the scheduler's loop only.

    Args:
        database: The file; its path determines group and port.
    """

    def __init__(self, database: Path) -> None:
        digest = hashlib.blake2b(os.fsencode(database.resolve()), digest_size=16).digest()
        self._group = f"239.255.{digest[0]}.{digest[1]}"
        self._port = _PORTS[int.from_bytes(digest[2:6]) % len(_PORTS)]
        self._topic = digest
        self._me = secrets.token_bytes(8)
        self._sender: socket.socket | None = None
        self._pending: asyncio.TimerHandle | None = None
        self._again = False
        self._is_closed = False
        self._transport: asyncio.DatagramTransport | None = None

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` at each wake-up from another process, until :meth:`close`."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            try:
                receiver = stack.enter_context(self._receiver())
                self._transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Listener(self._is_from_another, heard), sock=receiver
                )
            except OSError as error:
                log.debug("no nudges from other processes: %s", error)
                return
            stack.pop_all()  # the transport closes it

    def send(self) -> None:
        """Wake the other processes: at once, or a few milliseconds after the last wake-up."""
        if self._is_closed:  # a wake-up came while the engine was closing
            return
        if self._pending is not None:
            self._again = True
            return
        self._send()
        loop = asyncio.get_running_loop()
        self._pending = loop.call_later(_GATHER_SECONDS, self._gathered)

    def close(self) -> None:
        """Send a pending wake-up and stop listening."""
        if self._pending is not None:
            self._pending.cancel()
            self._gathered(is_last=True)
        if self._transport is not None:
            self._transport.close()
        if self._sender is not None:
            self._sender.close()
        self._transport = self._sender = None
        self._is_closed = True

    def _gathered(self, *, is_last: bool = False) -> None:
        again, self._pending, self._again = self._again, None, False
        if again and is_last:
            self._send()
        elif again:
            self.send()

    def _send(self) -> None:
        try:
            if self._sender is None:
                self._sender = _sender()
            self._sender.sendto(self._topic + self._me, (self._group, self._port))
        except OSError as error:
            log.debug("no nudge to other processes: %s", error)

    def _is_from_another(self, message: bytes) -> bool:
        topic, sender = message[: len(self._topic)], message[len(self._topic) :]
        return topic == self._topic and sender != self._me

    def _receiver(self) -> socket.socket:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            receiver.settimeout(0)
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # A socket bound to the group receives only datagrams of the group. Windows can bind only to an interface.
            receiver.bind((_LOOPBACK if sys.platform == "win32" else self._group, self._port))
            member = socket.inet_aton(self._group) + socket.inet_aton(_LOOPBACK)
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        except OSError:
            receiver.close()
            raise
        return receiver


def _sender() -> socket.socket:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sender.settimeout(0)
        interface = socket.inet_aton(_LOOPBACK)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)  # this machine only
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sender.bind((_LOOPBACK, 0))  # block datagrams from other machines
    except OSError:
        sender.close()
        raise
    return sender


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, counts: Callable[[bytes], bool], heard: Callable[[], None]) -> None:
        self._counts = counts
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        del addr
        if self._counts(data):
            self._heard()


# The engine for SQLite: a claim loop over ``c_JobRun``, one machine, no service.

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

    fence: Fence | None = None

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
        self._is_woken = self._is_asked = False

    async def open(self) -> None:
        """Remember the scheduler's loop."""
        self._loop = asyncio.get_running_loop()

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Write nothing: the run's own row is its entry. The caller wakes the loop after the commit."""

    async def create(self, store: Store, run: NewRun) -> None:
        """Return ``None``: a transaction on SQLite has no round trips to save."""
        del store, run

    async def create_here(self, store: Store, run: NewRun) -> None:
        """Return ``None``: the thread of the caller inserts."""
        del store, run

    def create_at_once(self, store: Store, run: NewRun) -> RunId | None:
        """Insert the run's row in the calling thread, which takes less time than to pass the call to the scheduler's loop."""
        run_id = store.insert_run_at_once(new_row(run, self._clock.now()))
        return None if run_id is None else RunId(run_id)

    async def create_within(self, connection: AsyncConnection, run: NewRun) -> RunId:
        """Insert the run's row in the application's transaction."""
        [run_id] = await insert_many(connection, [run], self._clock.now())
        return run_id

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
        """Look for work now, here and in other processes; within a millisecond after another wake-up, at its end. For any thread.

        A wake-up from another thread costs as much as the insert of a run, and one of a thousand calls a second is enough.
        """
        self._is_asked = True
        if self._loop is not None and not self._loop.is_closed() and not self._is_woken:
            self._is_woken = True
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
        self._is_asked = False  # first, so that a wake-up from now on counts
        self._wake.set()
        if self._nudge is not None:
            self._nudge.send()
        asyncio.get_running_loop().call_later(_WAKE_SECONDS, self._wake_again)

    def _wake_again(self) -> None:
        """Look for work once more if another wake-up came meanwhile."""
        self._is_woken = False
        if self._is_asked:  # read last: a thread that asks from here on wakes the loop itself
            self._is_woken = True
            self._wake_all()

    def _free(self, queues: Mapping[str, int], pools: Sequence[Turns]) -> Offer:
        """Return the free workers of each queue and pool."""
        alone = {queue: most - self._busy[queue] for queue, most in queues.items()}
        shared = [
            Shared(turns, turns.pool.workers - sum(self._busy[name] for name in turns.pool.queues))
            for turns in pools
        ]
        return Offer(
            wanted={queue: count for queue, count in alone.items() if count > 0},
            shared=[share for share in shared if share.free > 0],
            aging=self._aging,
        )

    async def _claim(self, worker: Worker, free: Offer) -> tuple[list[Claim], datetime]:
        """Claim runs for the free workers; return the claims and the instant of the next poll (used if there are no claims)."""
        poll = self._clock.now() + self._poll
        if not free.queues or worker.holds:
            return [], poll
        try:
            claims, next_due = await self._claim_due(worker, free)
        except NodeUnknown:  # the next heartbeat registers the node again
            await self._step_back()
            return [], poll
        except OUTAGES as error:
            return [], self._clock.now() + self._outage.failed(error)
        self._outage.over()
        self._plenty = (self._plenty - set(free.queues)) | _used_up(free, claims)
        return claims, min(poll, next_due) if next_due else poll

    async def _claim_due(self, worker: Worker, free: Offer) -> tuple[list[Claim], datetime | None]:
        """Stage and claim runs; return the claims and, if no run waits, the next due instant."""

        async def offer(connection: AsyncConnection) -> Offer:
            await self._prove(connection)
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

    async def _step_back(self) -> None:
        """Let another node claim while this node may not; on SQLite, the nodes need no turn."""

    async def _prove(self, connection: AsyncConnection) -> None:
        """Check in the transaction of a claim that this process may claim; on SQLite, it may."""

    async def _stage_due(
        self, worker: Worker, queues: Sequence[str]
    ) -> tuple[bool, datetime | None]:
        """Stage runs that are due; return whether runs wait, and the next due instant."""
        waiting, next_due = await worker.due(queues, self._poll)
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
    for share in free.shared:
        queues = share.turns.pool.queues
        if sum(taken[queue] for queue in queues) == share.free:
            alone.update(queues)
    return alone


def _size_and_time(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)  # noqa: PTH116 - Path.stat() takes twice as long
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
