# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Everything the scheduler writes, by topic: a function here is one change within the transaction of the connection it gets.

``runs`` the life of a run; ``slots`` recurring jobs; ``servers`` nodes and the rescue of their runs; ``journal`` what runs note;
``control`` pauses and the audit; ``retention`` what is thrown away. Reads for people are in ``queries.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..database import WRITES, make_engine


class Store:
    """The scheduler's database, for use on one event loop (the scheduler's home).

    Args:
        url: The database URL.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self.engine: AsyncEngine = make_engine(url)
        self._one_file = self.engine.dialect.name == "sqlite"
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes something; committed at the end, rolled back on an exception."""
        async with contextlib.AsyncExitStack() as stack:
            if (
                self._one_file
            ):  # SQLite has one writer; waiting here is fairer and quicker than in its busy handler
                await stack.enter_async_context(self._turn)
            connection = await stack.enter_async_context(self.engine.connect())
            await connection.execution_options(**WRITES)
            await stack.enter_async_context(connection.begin())
            yield connection

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading: one consistent view of the database."""
        async with self.engine.connect() as connection:
            yield connection

    async def dispose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
