"""Transactions on the scheduler's database.

The statements that write the scheduler's tables are in ``kernel/`` and ``features/``, by topic: a function there makes one change within
the transaction of its connection. Examples: ``kernel/runs/`` moves a run between states; ``kernel/node/slots.py`` handles recurring jobs;
``kernel/node/nodes.py`` heartbeats and the rescue of runs; ``kernel/runs/log.py`` log lines, progress and steps; ``kernel/pauses.py``
pauses; ``kernel/runs/retention.py`` pruning. Queries for users are in ``kernel/queries/`` and in the features.

Rows are locked in a fixed order, and all rows of a table before the first change, so that no two transactions wait for each other:
schedules by name; runs by id; keys; batches, the larger id first; limits, statistics and error groups by key. ``docs/locks.md`` has
the whole order and the remaining exceptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..core.errors import DatabaseReplaced, LeaseLost
from ..core.outage import MOST_UNDONE, in_short, is_undone, retry_delay
from .dialects import known
from .dialects.base import WRITES

if TYPE_CHECKING:
    from .dialects.frequent import FrequentStatement

log = logging.getLogger("targcc.db.transactions")
T = TypeVar("T")


class Closeable(Protocol):
    """An object with resources to release."""

    async def close(self) -> None:
        """Release the resources."""


C = TypeVar("C", bound=Closeable)

Fence: TypeAlias = Callable[[AsyncConnection], Awaitable[None]]
"""Checks at the begin of a write transaction that this process may write."""

_SPARE = 3
"""A pool with more connections than this keeps two of them open and reserved, for reads and for writes."""


class FileWatch:
    """Detect that the SQLite file was deleted or replaced, and refuse to work then.

    An open connection continues in a deleted file, where the data is lost, and a new connection would write to whichever file has the name
    now. Nothing is read or written until the file is back, or the process is restarted with the new file.

    Args:
        file: The SQLite file; ``None``: no file to check.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._opened: tuple[int, int] | None = None
        self._refused: str | None = None

    def refuse(self, reason: str | None) -> None:
        """Refuse the database because of its content, for a reason; ``None``: accept it again."""
        self._refused = reason

    def check(self) -> None:
        """Check file and content.

        Raises:
            DatabaseReplaced: The file or the content is another.
        """
        self.check_file()
        if self._refused is not None:
            raise DatabaseReplaced(self._refused)

    def check_file(self) -> None:
        """Check that the file is the same as at the first check; costs a system call.

        Raises:
            DatabaseReplaced: The file was deleted or replaced.
        """
        if self._file is None:
            return
        try:
            status = self._file.stat()
        except FileNotFoundError:
            if self._opened is None:
                return  # opening the file reports the error
            raise DatabaseReplaced(
                f"the database file {self._file} was deleted or moved while it was in use: put it back, or restart"
            ) from None
        file_id = status.st_dev, status.st_ino
        if self._opened is None:
            self._opened = file_id
        elif file_id != self._opened:
            raise DatabaseReplaced(
                f"another file was put in the place of the database {self._file} while it was in use:"
                " put the first one back, or restart to work with this one"
            )


class _Kept:
    """A connection that stays open between uses, because SQLAlchemy's pool takes longer to check out a connection than SQLite to answer.

    Args:
        engine: The source of the connection, and of further connections while it is in use.
        is_open: Return whether the database has not closed a connection.
        keep: Whether to keep a connection open.
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
        self._closing: set[asyncio.Task[None]] = set()
        self._is_over = False

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[AsyncConnection]:
        """Provide a connection without a transaction; close the connection after an exception."""
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
            closing = asyncio.create_task(self._give_back(connection))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.shield(closing)
            raise
        if self._idle is None and self._keep:
            self._idle = connection
        else:
            await self._give_back(connection)

    async def _give_back(self, connection: AsyncConnection) -> None:
        """Return a connection to the pool; after :meth:`close`, close it, as a pool that was disposed of would leave it open."""
        if self._is_over:
            await connection.invalidate()
        await connection.close()

    async def close(self) -> None:
        """Close the idle connection, and keep none from now on. A connection that a cancelled task still closes is waited for."""
        self._keep, self._is_over = False, True
        if self._closing:
            await asyncio.wait(self._closing)
        connection, self._idle = self._idle, None
        if connection is not None:
            await connection.close()


class Store:
    """The scheduler's database, for use on a single event loop (the scheduler's).

    Args:
        url: The database URL.
        pool_size: The maximum of connections, besides that of heartbeats. Default: 15.
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
        self._quick = self.dialect.make_quick_connection(address)
        self._of_loops = self.dialect.make_loop_connections(address) if spare else None
        self._owned: dict[Callable[[Store], Any], Any] = {}
        self.fence: Fence | None = None
        """A check at the begin of each write transaction; see :class:`~..kernel.engine.leased.Lease`."""

    def own(self, make: Callable[[Store], C]) -> C:
        """Return the object that ``make`` builds for this store: built at the first call, closed with the store."""
        if make not in self._owned:
            self._owned[make] = make(self)
        owned: C = self._owned[make]
        return owned

    def _make_engine(self, address: sa.URL) -> AsyncEngine:
        """Create a separate engine, whose connections are not shared."""
        return self.dialect.make_engine(address).execution_options(isolation_level="AUTOCOMMIT")

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Provide a write transaction; commit at the end, roll back on an exception.

        Keep the transaction short: on SQLite no other writer proceeds meanwhile, and the transaction occupies the event loop.

        Raises:
            DatabaseReplaced: The database is not the one that was opened.
        """
        self.watch.check()
        turn = contextlib.nullcontext() if self._inline is None else self._turn
        async with turn, self._writer.lend() as connection:
            await self.dialect.begin_write(connection)
            try:
                if self.fence is not None:
                    await self.fence(connection)
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    async def change(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` in a write transaction; retry when the database rolled the transaction back for a conflict with another."""
        tries = 0
        while True:
            tries += 1
            try:
                async with self.write() as connection:
                    return await work(connection)
            except LeaseLost:
                if tries > 1:  # the next try is that of a standby
                    raise
            except DBAPIError as error:
                if not is_undone(error) or tries == MOST_UNDONE:
                    raise
                log.info(
                    "a transaction is done again, as the database undid it: %s", in_short(error)
                )
            await asyncio.sleep(retry_delay())

    @contextlib.asynccontextmanager
    async def write_at_once(self) -> AsyncIterator[AsyncConnection]:
        """Provide a connection for a single writing statement. On PostgreSQL the statement commits by itself, which saves round trips."""
        if self.fence is not None or not self.dialect.commits_cost:
            async with self.write() as connection:
                yield connection
            return
        async with self._reader.lend() as connection:
            yield connection

    def insert_run_at_once(self, row: Mapping[str, Any]) -> int | None:
        """Insert a run without a slot, in a transaction of its own; from any thread, and without waiting.

        Returns:
            The run's id; ``None`` if nothing was inserted: the database needs waiting, or another writer is at work.

        Raises:
            DatabaseReplaced: The database is not the one that was opened.
        """
        if self._quick is None:
            return None
        self.watch.check()
        return self.dialect.insert_run_at_once(self._quick, row)

    async def execute_here(
        self, statement: FrequentStatement, parameters: Mapping[str, Any]
    ) -> Sequence[Any] | None:
        """Execute a statement that commits by itself on the calling event loop, which may be any loop of the process.

        Returns:
            The rows; ``None``, and nothing was executed, if the loop has no free connection.

        Raises:
            DatabaseReplaced: The database is not the one that was opened.
        """
        if self._of_loops is None:
            return None
        self.watch.check()
        return await statement.on_this_loop(self._of_loops, parameters)

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Provide a connection for short queries; each query sees the data committed before it begins.

        Long queries, as of pages, use :attr:`engine`.

        Raises:
            DatabaseReplaced: The database is not the one that was opened.
        """
        self.watch.check()
        async with self._reader.lend() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def beat(self) -> AsyncIterator[AsyncConnection]:
        """Provide a connection for a single statement of a heartbeat, which commits by itself.

        The connection is reserved for heartbeats, and no lock of this process is needed.

        Raises:
            DatabaseReplaced: The file was deleted or replaced.
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
        if self._quick is not None:
            self._quick.close()
        if self._of_loops is not None:
            self._of_loops.close()
        for owned in self._owned.values():
            await owned.close()
        await self._reader.close()
        await self._writer.close()
        await self._beater.close()
        await self.engine.dispose()
        await self._for_beats.dispose()
        if self._inline is not None:
            await self._inline.dispose()
