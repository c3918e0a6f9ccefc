"""Transactions on the scheduler's database.

The modules beside this one hold every statement that writes our tables, by topic: a function there is one change within the transaction
of the connection it gets. ``runs`` a run from state to state; ``slots`` recurring jobs; ``nodes`` heartbeats and the rescue of runs;
``run_log`` log lines, progress and steps; ``pauses``, ``alerts``, ``accounts``, ``audit``; ``retention`` what is pruned. Reads for people
are in the room ``queries``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .dialects import known
from .dialects.base import WRITES


class Store:
    """The scheduler's database, for use on one event loop (the scheduler's).

    Args:
        url: The database URL.
    """

    def __init__(self, url: str | sa.URL) -> None:
        address = sa.make_url(url)
        self.dialect = known.for_url(address)
        self.engine: AsyncEngine = self.dialect.make_engine(address)
        self._inline = self.dialect.make_inline_engine(address)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes something; committed at the end, rolled back on an exception.

        Short: on SQLite nobody else writes meanwhile, and nothing else happens on the loop.
        """
        if self._inline is None:
            async with self.engine.begin() as connection:
                yield connection
            return
        async with self._turn, self._inline.connect() as connection:
            await connection.execution_options(**WRITES)
            await self.dialect.begin_write(connection)
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    @contextlib.asynccontextmanager
    async def write_at_once(self) -> AsyncIterator[AsyncConnection]:
        """For one statement that changes something: where that saves round trips it commits by itself."""
        if not self.dialect.commits_cost:
            async with self.write() as connection:
                yield connection
            return
        async with self._autocommit.connect() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for a short query; long ones, such as those of pages, use :attr:`engine`."""
        async with (self._inline or self.engine).connect() as connection:
            yield connection

    async def dispose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        if self._inline is not None:
            await self._inline.dispose()
