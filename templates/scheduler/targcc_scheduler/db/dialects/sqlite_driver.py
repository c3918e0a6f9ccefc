"""SQLite on the event loop: short transactions without aiosqlite's thread."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.humanize import mib
from .base import DriverStatement

# Connections on the event loop itself, for the scheduler's own short transactions.
#
# ``aiosqlite`` passes every call to a thread and waits for the result: forty calls for a run, at ten times SQLite's own cost. Here the
# calls run on the loop. They take microseconds and hardly wait for another process: taking the write lock, the only call with a long wait,
# is retried by ``SQLiteDialect.begin_write``. Queries that may be long, such as those of pages, stay with ``aiosqlite``.

LOCK_WAIT_MS = 20
"""Milliseconds that a call may wait for another process; only the end of a checkpoint makes a call wait."""


class InlineCursor:
    """A cursor with the methods of ``aiosqlite`` that SQLAlchemy calls."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.arraysize = 1

    @property
    def description(self) -> Any:
        """Return the columns of the result."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """Return the number of changed rows."""
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        """Return the key of the row that was inserted last."""
        return self._cursor.lastrowid

    def __await__(self) -> Generator[None, None, Self]:
        """Return the cursor: SQLAlchemy 2.0 awaits ``connection.cursor()``, and 2.1 enters the cursor."""
        yield from ()  # makes this a generator
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._cursor.close()

    async def execute(self, operation: str, parameters: Any = ()) -> Self:
        """Execute a statement."""
        self._cursor.execute(operation, parameters)
        return self

    async def executemany(self, operation: str, parameters: Iterable[Any]) -> Self:
        """Execute a statement for each set of parameters."""
        self._cursor.executemany(operation, parameters)
        return self

    async def fetchall(self) -> list[Any]:
        """Return all rows of the result."""
        return self._cursor.fetchall()

    async def close(self) -> None:
        """Close the cursor."""
        self._cursor.close()


class InlineConnection:
    """A connection with the methods of ``aiosqlite`` that SQLAlchemy calls."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._open = connection

    def cursor(self) -> InlineCursor:
        """Return a new cursor."""
        return InlineCursor(self._open.cursor())

    def cursor_itself(self) -> sqlite3.Cursor:
        """Return a new cursor of the driver."""
        return self._open.cursor()

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        """Register a Python function for SQL; SQLAlchemy does so for regular expressions."""
        self._open.create_function(*arguments, **options)

    async def commit(self) -> None:
        """Commit the transaction."""
        self._open.commit()

    async def rollback(self) -> None:
        """Roll the transaction back."""
        self._open.rollback()

    async def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._connection = None
        self._open.close()

    def stop(self) -> None:
        """Close the connection without awaiting."""
        self._connection = None
        self._open.close()


async def connect(database: str) -> InlineConnection:
    """Open an existing file; only the migrations create a file.

    Args:
        database: The path of the file.
    """
    connection = sqlite3.connect(
        existing(database),
        timeout=LOCK_WAIT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )
    return InlineConnection(connection)


class QuickConnection:
    """A connection for single statements from any thread, each in a transaction of its own. No statement waits for a lock.

    The transaction takes microseconds: in WAL mode a commit writes to the operating system and does not wait for the disk. The other
    connections write the checkpoints, because a checkpoint waits for the disk.

    Args:
        database: The path of the file.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False

    def rows(
        self, statement: SQLiteStatement, parameters: Mapping[str, Any]
    ) -> Sequence[Any] | None:
        """Execute a statement, commit, and return the rows as named tuples.

        Returns:
            The rows; ``None`` if nothing was changed: another thread or process writes just now, or the statement failed.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._is_closed:
                return None
            if self._connection is None:
                self._connection = self._open()
            cursor = self._connection.execute(statement.text, statement.values(parameters))
            return statement.named(cursor.fetchall())
        except sqlite3.Error:
            return None
        finally:
            self._lock.release()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            existing(self._database),
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def close(self) -> None:
        """Close the connection; no statement is executed any more."""
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()


def existing(database: str) -> str:
    """Return a SQLite URI that opens an existing file and creates none."""
    return f"{Path(database).absolute().as_uri()}?mode=rw"


# Statements that SQLite's driver executes directly, see ``frequent.py``.

A = TypeVar("A")
R = TypeVar("R")
_SQLITE = SQLiteDialect_pysqlite(paramstyle="named")


class SQLiteStatement(DriverStatement):
    """A statement for ``sqlite3``, on the connection of a transaction.

    Args:
        statement: The statement to compile.
    """

    def __init__(self, statement: Any) -> None:
        super().__init__(statement, _SQLITE)

    async def rows(self, connection: AsyncConnection, parameters: Mapping[str, Any]) -> list[Any]:
        """Execute the statement and return its rows as named tuples."""
        driver = _threaded(connection)
        if driver is None:
            return await _call(self._rows, connection, parameters)
        try:  # one call of aiosqlite's thread instead of three
            found = await driver.execute_fetchall(self.text, self.values(parameters))
        except sqlite3.Error as error:
            raise self._error(error) from error
        return self.named(found)

    async def counts(
        self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]
    ) -> list[int]:
        """Execute the statement for each set of parameters and return the number of changed rows of each."""
        return await _call(self._counts, connection, many)

    def execute(self, connection: sa.Connection) -> None:
        """Execute the statement, which has no parameters and returns no rows."""
        self._execute(_cursor(connection), {})

    def _rows(self, connection: sa.Connection, parameters: Mapping[str, Any]) -> list[Any]:
        return self.named(self._execute(_cursor(connection), parameters).fetchall())

    def _counts(self, connection: sa.Connection, many: Iterable[Mapping[str, Any]]) -> list[int]:
        cursor = _cursor(connection)
        return [self._execute(cursor, parameters).rowcount for parameters in many]

    def _execute(self, cursor: Any, parameters: Mapping[str, Any]) -> Any:
        try:
            cursor.execute(self.text, self.values(parameters))
        except sqlite3.Error as error:
            raise self._error(error) from error
        return cursor

    def _error(self, error: sqlite3.Error) -> Exception:
        return DBAPIError.instance(self.text, None, error, sqlite3.Error, dialect=_SQLITE)


async def _call(
    function: Callable[[sa.Connection, A], R], connection: AsyncConnection, argument: A
) -> R:
    """Call a function with the sync connection.

    SQLAlchemy's ``run_sync`` uses a greenlet, which takes as long as a short statement and is unnecessary on an inline connection.
    """
    plain = connection.sync_connection
    if plain is not None and not plain.invalidated and _is_inline(plain):
        return function(plain, argument)
    return await connection.run_sync(function, argument)


def _threaded(connection: AsyncConnection) -> Any:
    """Return the open connection of aiosqlite that SQLAlchemy has in a transaction; ``None`` for any other connection."""
    plain = connection.sync_connection
    if plain is None or plain.invalidated or not plain.in_transaction():
        return None
    driver = plain.connection.driver_connection
    return driver if type(driver).__module__.partition(".")[0] == "aiosqlite" else None


def _is_inline(connection: sa.Connection) -> bool:
    return isinstance(connection.connection.driver_connection, InlineConnection)


def _cursor(connection: sa.Connection) -> Any:
    """Return the driver's cursor; an :class:`InlineCursor` would only pass calls on."""
    ours = connection.connection
    driver = ours.driver_connection
    return driver.cursor_itself() if isinstance(driver, InlineConnection) else ours.cursor()


WORTH_TELLING = 2**20
"""Minimum unused bytes in a SQLite file for a warning."""


def vacuum_advice(file: Path | str, size: int) -> str:
    """Return the advice for a file without ``auto_vacuum``: how to shrink the file now and from then on.

    Args:
        file: The database file.
        size: Size of the file in bytes.
    """
    return (
        f"to make it smaller, now and from then on, stop every process and run once (it needs up to {mib(2 * size)} of free disk,\n"
        f'and ten seconds or more for each GiB): sqlite3 {file} "PRAGMA auto_vacuum = INCREMENTAL; VACUUM"'
    )
