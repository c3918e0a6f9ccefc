"""The engine for databases where one node at a time runs jobs: the engine for SQLite, with a lease that names the active node.

The lease is a lock of a database session. The server releases the lock when the session ends: once the active node has stopped, was killed
or lost its connection, a standby takes over. The old node may notice the loss after the takeover. Therefore each takeover writes a new
mark into ``c_JobSetting``, and each write transaction of the active node begins with a read of the mark that locks the row:

* A takeover waits for the end of the transactions that read the old mark. It fails if the mark is no longer the one that it has read, so that
  only one of two takeovers at the same time succeeds.
* A transaction that reads the mark of another node is rolled back, and its node becomes a standby. A standby claims no run. It settles the
  runs that it has begun: each settlement checks server, attempt and state of the run.

The session of a frozen process lives on and keeps its lock. Once another node has declared the process lost, a standby takes a new lock, and
the mark names the lock that counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...core.clock import Clock
from ...core.errors import LeaseLost
from ...core.outage import OUTAGES, in_short
from ...db.dialects import known
from ...db.tables import ACTIVE_NODE, active_node, job_server, job_setting
from ..runs.values import Claim, Offer
from .port import Worker
from .sqlite import EmbeddedEngine

log = logging.getLogger("targcc.engine.leased")

_LEASE = "targcc active node"
"""The name of the first lock; the names of later ones have a suffix."""
_CHECK_SECONDS = 1.0
"""Interval between looks at the lease. A claim is safe without a look, by the mark."""
_REST_SECONDS = 5.0
"""How long a node that may not claim leaves the lease to a standby."""


class Lease:
    """The lock that names the active node, on a connection of its own.

    Args:
        database: The database.
        clock: Tells the time of a takeover.
    """

    def __init__(self, database: AsyncEngine, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._connection: AsyncConnection | None = None
        self._server = self._suffix = self._mark = ""
        self._found: str | None = None
        """The setting as it was read or written last."""
        self._is_active = self._is_left = False
        self._checked = float("-inf")
        self._turn = asyncio.Lock()

    async def is_held(self, server: str = "") -> bool:
        """Return whether this process is the active node; become the active node if there is none.

        Args:
            server: The id of this process's row in ``c_JobServer``, for pages and commands.
        """
        is_same = server == self._server
        if self._is_active and is_same and time.monotonic() - self._checked < _CHECK_SECONDS:
            return True
        async with self._turn:
            return not self._is_left and await self._check(server)

    async def _check(self, server: str) -> bool:
        try:
            is_active = await self._look()
            if is_active and not self._is_active:
                self._mark = uuid.uuid4().hex
            if is_active and not (self._is_active and server == self._server):
                is_active = await self._write_mark(server)
                self._server = server
        except OUTAGES as error:
            log.warning("the lease of the active node cannot be taken: %s", in_short(error))
            await self._close()
            return False
        if is_active and not self._is_active:
            log.info("this node is active now")
        elif self._is_active and not is_active:
            log.warning("this node is a standby now: another node is active")
        self._checked = time.monotonic()
        self._is_active = is_active
        return is_active

    async def fence(self, connection: AsyncConnection) -> None:
        """Check at the begin of a transaction of the active node that no other node has become active; do nothing on a standby.

        A takeover waits for the transaction's end.

        Raises:
            LeaseLost: Another node is active.
        """
        if self._is_active:
            await self.prove(connection)

    async def prove(self, connection: AsyncConnection) -> None:
        """Check in a transaction that this node is the active node; a takeover waits for the transaction's end.

        Raises:
            LeaseLost: Another node is active, or this node is a standby.
        """
        if not self._is_active or await self._held_mark(connection) != self._mark:
            self._is_active = False
            raise LeaseLost("another node has become active")

    async def _held_mark(self, connection: AsyncConnection) -> str:
        mark, _, _ = active_node(await known.of(connection).hold_setting(connection, ACTIVE_NODE))
        return mark

    async def close(self) -> None:
        """Give the lease up; the next look may take it again."""
        async with self._turn:
            await self._close()

    async def leave(self) -> None:
        """Give the lease up for good."""
        self._is_left = True
        await self.close()

    async def _close(self) -> None:
        connection, self._connection, self._is_active = self._connection, None, False
        if connection is not None:
            with contextlib.suppress(*OUTAGES):  # the session has ended
                if not connection.closed:
                    await connection.invalidate()  # ends the session, and with it the lock
                await connection.close()

    async def _look(self) -> bool:
        if self._connection is not None and self._connection.invalidated:  # the session has ended
            await self._close()
        if self._connection is None:
            engine = self._database.execution_options(isolation_level="AUTOCOMMIT")
            self._connection = await engine.connect()
        if not self._is_active:
            async with self._database.connect() as connection:
                self._suffix = await self._find_lock(connection)
        name = f"{_LEASE} {self._suffix}".strip()
        is_active = await known.of(self._connection).try_lease(self._connection, name)
        if not is_active and self._is_active:
            await self._close()
        return is_active

    async def _find_lock(self, connection: AsyncConnection) -> str:
        """Return the suffix of the lock that counts: of a new lock if the active node was declared lost, as its session may live on."""
        c = job_setting.c
        self._found = await connection.scalar(sa.select(c.Value).where(c.Name == ACTIVE_NODE))
        _, server, suffix = active_node(self._found)
        is_up = sa.select(job_server.c.Id).where(job_server.c.Id == server)
        if server and await connection.scalar(is_up) is None:
            return uuid.uuid4().hex
        return suffix

    async def _write_mark(self, server: str) -> bool:
        """Write the mark, with the server's id for pages and commands; return false if another node has changed it first."""
        c, value = job_setting.c, f"{self._mark} {server} {self._suffix}".rstrip()
        values = {"Name": ACTIVE_NODE, "Value": value, "UpdatedAt": self._clock.now()}
        if self._found is None:
            change: sa.Insert | sa.Update = sa.insert(job_setting)
        else:
            change = sa.update(job_setting).where(c.Name == ACTIVE_NODE, c.Value == self._found)
        stored = sa.select(c.Value).where(c.Name == ACTIVE_NODE)
        async with self._database.begin() as connection:
            await connection.execute(change.values(values))
            is_written = await connection.scalar(stored) == value
        if is_written:
            self._found = value
        else:
            await self._close()
        return is_written


class LeasedEngine(EmbeddedEngine):
    """Claim runs as :class:`~.sqlite.EmbeddedEngine` does, while this process is the active node.

    Args:
        database: The database.
        clock: Tells when a run is due.
        poll_seconds: Interval between polls for work and for the lease.
        aging: For queues with ageing, the waiting seconds that count as one priority point.
    """

    def __init__(
        self,
        database: AsyncEngine,
        clock: Clock,
        *,
        poll_seconds: float = 1,
        aging: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(None, clock, poll_seconds=poll_seconds, aging=aging)
        self._lease = Lease(database, clock)
        self.fence = self._lease.fence
        self._rests_until = float("-inf")
        self._leaving: asyncio.Task[None] | None = None

    def drain(self) -> None:
        """Stop claiming runs, and let a standby become active."""
        super().drain()
        self._leave()

    async def close(self) -> None:
        """Give the lease up."""
        await asyncio.shield(self._lease.leave())
        await super().close()

    async def _claim(self, worker: Worker, free: Offer) -> tuple[list[Claim], datetime]:
        if worker.holds:  # the node is being drained
            await self._lease.close()
        elif (
            time.monotonic() >= self._rests_until
            and await self._lease.is_held(worker.server_id)
            and not self._draining
        ):
            return await super()._claim(worker, free)
        return [], self._clock.now() + self._poll

    async def _prove(self, connection: AsyncConnection) -> None:
        await self._lease.prove(connection)

    async def _step_back(self) -> None:
        """Give the lease up for a while: this node was declared lost, or writes no heartbeats."""
        await self._lease.close()
        self._rests_until = time.monotonic() + _REST_SECONDS

    def _leave(self) -> None:
        """Give the lease up, on the scheduler's loop; the work goes on to its end without the lease."""
        if self._loop is not None and not self._loop.is_closed() and self._leaving is None:
            self._leaving = self._loop.create_task(self._lease.leave())
