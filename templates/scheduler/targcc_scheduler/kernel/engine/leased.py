"""The engine for databases where one node at a time runs jobs: the engine for SQLite, with a lease that names the active node.

The lease is a lock of a database session. The server frees the lock when the session ends, so that a standby takes over once the active
node has stopped, was killed or lost its connection. A node that lost the lease may notice later than its successor. Therefore each
takeover writes a new mark, and each claim reads the mark in its own transaction: a claim with an old mark is rolled back.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...core.clock import Clock
from ...core.errors import NodeUnknown
from ...core.outage import OUTAGES, in_short
from ...db.dialects import known
from ...db.tables import ACTIVE_NODE, job_setting
from ..runs.values import Claim, Offer
from .port import Worker
from .sqlite import EmbeddedEngine

log = logging.getLogger("targcc.engine.leased")

_LEASE = "targcc active node"
"""The name of the lock."""
_CHECK_SECONDS = 1.0
"""Interval between looks at the lease. A claim is safe without a look, by the mark."""
_READ_MARK = (
    sa.select(job_setting.c.Value).where(job_setting.c.Name == ACTIVE_NODE).with_for_update()
)


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
        self._server = ""
        self._mark = ""
        self._is_active = False
        self._checked = float("-inf")

    async def is_held(self, server: str = "") -> bool:
        """Return whether this process is the active node; become the active node if there is none.

        Args:
            server: The id of this process's row in ``c_JobServer``, for pages and commands.
        """
        is_same = server == self._server
        if self._is_active and is_same and time.monotonic() - self._checked < _CHECK_SECONDS:
            return True
        try:
            is_active = await self._look()
        except OUTAGES as error:
            log.warning("the lease of the active node cannot be read: %s", in_short(error))
            await self.close()
            return False
        self._checked = time.monotonic()
        if is_active and not (self._is_active and is_same):
            self._server, self._mark = server, f"{uuid.uuid4().hex} {server}"
            await self._write_mark()
            if not self._is_active:
                log.info("this node is active now")
        elif self._is_active and not is_active:
            log.warning("this node is a standby now: another node is active")
        self._is_active = is_active
        if not is_active:
            await self.close()  # a standby keeps no session: Babelfish ends its server at the sixth refusal of a session
        return is_active

    async def prove(self, connection: AsyncConnection) -> None:
        """Check in a transaction that no other node has become active; a takeover waits for the transaction's end.

        Raises:
            NodeUnknown: Another node is active.
        """
        if await connection.scalar(_READ_MARK) != self._mark:
            self._is_active = False
            raise NodeUnknown("another node has become active")

    async def close(self) -> None:
        """Give the lease up."""
        connection, self._connection, self._is_active = self._connection, None, False
        if connection is not None:
            if not connection.closed:
                await connection.invalidate()  # ends the session, and with it the lock
            await connection.close()

    async def _look(self) -> bool:
        if self._connection is not None and self._connection.invalidated:  # the session has ended
            await self.close()
        if self._connection is None:
            engine = self._database.execution_options(isolation_level="AUTOCOMMIT")
            self._connection = await engine.connect()
        return await known.of(self._connection).try_lease(self._connection, _LEASE)

    async def _write_mark(self) -> None:
        async with self._database.begin() as connection:
            values = {"Name": ACTIVE_NODE, "Value": self._mark, "UpdatedAt": self._clock.now()}
            upsert = known.of(connection).upsert(job_setting, [job_setting.c.Name], values)
            await connection.execute(upsert)


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

    async def close(self) -> None:
        """Give the lease up."""
        await asyncio.shield(self._lease.close())
        await super().close()

    async def _claim(self, worker: Worker, free: Offer) -> tuple[list[Claim], datetime]:
        if not await self._lease.is_held(worker.server_id):
            return [], self._clock.now() + self._poll
        return await super()._claim(worker, free)

    async def _prove(self, connection: AsyncConnection) -> None:
        await self._lease.prove(connection)
