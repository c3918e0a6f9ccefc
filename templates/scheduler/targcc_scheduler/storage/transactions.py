"""Everything the scheduler writes, by topic: a function here is one change within the transaction of the connection it gets.

``runs`` the life of a run; ``slots`` recurring jobs; ``servers`` nodes and the rescue of their runs; ``journal`` what runs note;
``control`` pauses and the audit; ``retention`` what is thrown away. Reads for people are in ``queries.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .engines import WRITES, make_engine, make_inline_engine

_LOCKED_SECONDS = 15.0
"""How long another process may hold SQLite's write lock before a transaction gives up."""


class Store:
    """The scheduler's database, for use on one event loop (the scheduler's home).

    Args:
        url: The database URL.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self.engine: AsyncEngine = make_engine(url)
        self._inline = make_inline_engine(url)
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
            await _begin(connection)
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    @contextlib.asynccontextmanager
    async def write_at_once(self) -> AsyncIterator[AsyncConnection]:
        """For one statement that changes something: where that saves round trips it commits by itself."""
        if self._inline is not None:
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


async def _begin(connection: AsyncConnection) -> None:
    """Take SQLite's write lock, without holding the event loop up while another process has it."""
    deadline, pause = time.monotonic() + _LOCKED_SECONDS, 0.001
    while True:
        try:
            await connection.begin()
        except OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > deadline:
                raise
        else:
            return
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.05)
