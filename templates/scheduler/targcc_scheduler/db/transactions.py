"""Transactions on the scheduler's database.

The modules beside this one hold every statement that writes our tables, by topic: a function there is one change within the transaction
of the connection it gets. ``runs`` a run from state to state; ``slots`` recurring jobs; ``nodes`` heartbeats and the rescue of runs;
``run_log`` log lines, progress and steps; ``pauses``, ``alerts``, ``accounts``, ``audit``; ``retention`` what is pruned. Reads for people
are in the room ``queries``.

Rows are locked in one order, and several of a table before the first is changed, so that no two transactions wait for each other: schedules by
name; runs by id; keys; batches, the larger id first; limits, statistics and causes by key. ``docs/architecture.md`` has all of it, and what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..core.errors import DatabaseReplaced
from ..core.outage import MOST_UNDONE, in_short, is_undone, retry_delay
from .dialects import known
from .dialects.base import WRITES
from .poller import Poller

log = logging.getLogger("targcc.storage.transactions")
T = TypeVar("T")

_SPARE = 3
"""A pool that has more connections than that can do without the two that are kept."""


class FileWatch:
    """Knows the file that was opened first, and refuses another in its place.

    What is open goes on in a file that was deleted, where nobody finds it, and a new connection would write to whatever has its name
    now. So nothing is read or written until the file is back, or the process is started again with what is there.

    Args:
        file: The SQLite file; ``None`` when there is none to look at.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._opened: tuple[int, int] | None = None
        self._refused: str | None = None

    def refuse(self, reason: str | None) -> None:
        """The content is that of another database; ``None``: it is the right one again."""
        self._refused = reason

    def check(self) -> None:
        """Check file and content.

        Raises:
            DatabaseReplaced: it is another.
        """
        self.check_file()
        if self._refused is not None:
            raise DatabaseReplaced(self._refused)

    def check_file(self) -> None:
        """Check that the file of that name is the one that was there at the first check; that costs a system call.

        Raises:
            DatabaseReplaced: it was deleted, or another was put in its place.
        """
        if self._file is None:
            return
        try:
            status = self._file.stat()
        except FileNotFoundError:
            if self._opened is None:
                return  # opening it says so
            raise DatabaseReplaced(
                f"the database file {self._file} was deleted or moved while it was in use: put it back, or restart"
            ) from None
        found = status.st_dev, status.st_ino
        if self._opened is None:
            self._opened = found
        elif found != self._opened:
            raise DatabaseReplaced(
                f"another file was put in the place of the database {self._file} while it was in use:"
                " put the first one back, or restart to work with this one"
            )


class _Kept:
    """A connection that is kept from one use to the next: SQLAlchemy's pool takes longer to lend one than SQLite to answer.

    Args:
        engine: Where it is from, and each further one that is wanted meanwhile.
        is_open: Whether the database has not closed one that was kept.
        keep: Whether any is kept.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        is_open: Callable[[AsyncConnection], bool],
        *,
        keep: bool = True,
    ) -> None:
        self._engine = engine
        self._is_open = is_open
        self._keep = keep
        self._idle: AsyncConnection | None = None

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[AsyncConnection]:
        """A connection without a transaction; after an exception it is used no more."""
        connection, self._idle = self._idle, None
        if connection is not None and not self._is_open(connection):
            await connection.invalidate()
            await connection.close()
            connection = None
        if connection is None:
            connection = await self._engine.connect()
        try:
            yield connection
            if connection.in_transaction():
                await connection.rollback()
        except BaseException:
            await asyncio.shield(asyncio.create_task(connection.close()))
            raise
        if self._idle is None and self._keep:
            self._idle = connection
        else:
            await connection.close()

    async def close(self) -> None:
        """Close the one that is kept, and keep none from now on."""
        self._keep = False
        connection, self._idle = self._idle, None
        if connection is not None:
            await connection.close()


class Store:
    """The scheduler's database, for use on one event loop (the scheduler's).

    Args:
        url: The database URL.
        pool_size: How many connections there may be at most, besides that of heartbeats. Default: 15.
    """

    def __init__(self, url: str | sa.URL, pool_size: int | None = None) -> None:
        address = sa.make_url(url)
        self.dialect = known.for_url(address)
        self.engine: AsyncEngine = self.dialect.make_engine(address, pool_size)
        self._inline = self.dialect.make_inline_engine(address)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        is_open = self.dialect.is_open
        spare = self._inline is not None or pool_size is None or pool_size > _SPARE
        self._reader = _Kept(self._inline or self._autocommit, is_open, keep=spare)
        writing = (self._inline or self.engine).execution_options(**WRITES)
        self._writer = _Kept(writing, is_open, keep=spare)
        self.file = self.dialect.file(address)
        """The SQLite file; ``None`` on PostgreSQL."""
        self.plain_address = self.dialect.plain_address(address)
        self.watch = FileWatch(self.file)
        inline = self.dialect.make_inline_engine(address)
        self._for_beats = (
            self._make_engine(address) if inline is None else inline.execution_options(**WRITES)
        )
        self._beater = _Kept(self._for_beats, is_open)
        self._turn = asyncio.Lock()
        self.lookout = Poller(self.read)
        """Sees what others have changed."""

    def _make_engine(self, address: sa.URL) -> AsyncEngine:
        """Another engine, whose connections nobody else has."""
        return self.dialect.make_engine(address).execution_options(isolation_level="AUTOCOMMIT")

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes something; committed at the end, rolled back on an exception.

        Short: on SQLite nobody else writes meanwhile, and nothing else happens on the loop.

        Raises:
            DatabaseReplaced: the database is not the one that was opened.
        """
        self.watch.check()
        turn = contextlib.nullcontext() if self._inline is None else self._turn
        async with turn, self._writer.lend() as connection:
            await self.dialect.begin_write(connection)
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do ``work`` in such a transaction; and again if the database undid it because it and another waited for each other."""
        tries = 0
        while True:
            tries += 1
            try:
                async with self.write() as connection:
                    return await work(connection)
            except DBAPIError as error:
                if not is_undone(error) or tries == MOST_UNDONE:
                    raise
                log.info(
                    "a transaction is done again, as the database undid it: %s", in_short(error)
                )
            await asyncio.sleep(retry_delay())

    @contextlib.asynccontextmanager
    async def write_at_once(self) -> AsyncIterator[AsyncConnection]:
        """For one statement that changes something: where that saves round trips it commits by itself."""
        if not self.dialect.commits_cost:
            async with self.write() as connection:
                yield connection
            return
        async with self._reader.lend() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for short queries, each of which sees what is committed when it begins; long ones, such as those of pages, use :attr:`engine`.

        Raises:
            DatabaseReplaced: the database is not the one that was opened.
        """
        self.watch.check()
        async with self._reader.lend() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def beat(self) -> AsyncIterator[AsyncConnection]:
        """For one statement of a heartbeat, which commits by itself: a connection, and no lock, that nothing else here has.

        Raises:
            DatabaseReplaced: the file was deleted or replaced.
        """
        self.watch.check_file()
        async with self._beater.lend() as connection:
            if self._inline is None:
                yield connection
                return
            await self.dialect.begin_write(connection)
            yield connection
            await connection.commit()

    async def dispose(self) -> None:
        """Close every connection."""
        await self.lookout.close()
        await self._reader.close()
        await self._writer.close()
        await self._beater.close()
        await self.engine.dispose()
        await self._for_beats.dispose()
        if self._inline is not None:
            await self._inline.dispose()
