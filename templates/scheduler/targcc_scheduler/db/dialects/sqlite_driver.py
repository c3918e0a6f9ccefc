"""SQLite on the event loop: short transactions without aiosqlite's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from .driver_statement import DriverStatement

# SQLite on the event loop itself, for the scheduler's own short transactions.
#
# ``aiosqlite`` hands every call to a thread and waits for the answer: forty times for one run, which costs ten times what SQLite does.
# Here the calls are made on the spot. They take microseconds and hardly wait for another process, because the only thing that would wait long,
# taking the write lock, is tried again from outside (see ``store``). Queries that may be long, such as those of pages, stay with
# ``aiosqlite``.

LOCK_WAIT_MS = 20
"""How long one call may wait for another process; only the end of a checkpoint ever makes one wait."""


class InlineCursor:
    """A cursor with the methods SQLAlchemy calls on one of ``aiosqlite``."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.arraysize = 1

    @property
    def description(self) -> Any:
        """The columns of the result."""
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        """The key of the row that was inserted last."""
        return self._cursor.lastrowid

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
        """The whole result."""
        return self._cursor.fetchall()

    async def close(self) -> None:
        """Close it."""
        self._cursor.close()


class InlineConnection:
    """A connection with the methods SQLAlchemy calls on one of ``aiosqlite``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: sqlite3.Connection | None = connection
        self._open = connection

    def cursor(self) -> InlineCursor:
        """A new cursor."""
        return InlineCursor(self._open.cursor())

    def cursor_itself(self) -> sqlite3.Cursor:
        """A cursor of the driver."""
        return self._open.cursor()

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        """Offer a Python function to SQL; SQLAlchemy does so for regular expressions."""
        self._open.create_function(*arguments, **options)

    async def commit(self) -> None:
        """Commit the transaction."""
        self._open.commit()

    async def rollback(self) -> None:
        """Roll the transaction back."""
        self._open.rollback()

    async def close(self) -> None:
        """Close it; closing it twice does nothing."""
        self._connection = None
        self._open.close()

    def stop(self) -> None:
        """Close it without asking."""
        self._connection = None
        self._open.close()


async def connect(database: str) -> InlineConnection:
    """Open a file that is there; only the migrations create one.

    Args:
        database: Its path.
    """
    connection = sqlite3.connect(
        existing(database),
        timeout=LOCK_WAIT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )
    return InlineConnection(connection)


def existing(database: str) -> str:
    """A URI of SQLite's that opens a file and does not create it."""
    return f"{Path(database).absolute().as_uri()}?mode=rw"


# A statement that SQLite's driver executes itself, see ``..frequent``.

A = TypeVar("A")
R = TypeVar("R")
_SQLITE = SQLiteDialect_pysqlite(paramstyle="named")


class SQLiteStatement(DriverStatement):
    """Executed on the connection of a transaction.

    Args:
        statement: What SQLAlchemy makes its text and conversions of.
    """

    def __init__(self, statement: Any) -> None:
        super().__init__(statement, _SQLITE)

    async def rows(self, connection: AsyncConnection, parameters: Mapping[str, Any]) -> list[Any]:
        """The rows that it finds."""
        return await _call(self._rows, connection, parameters)

    async def counts(
        self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]
    ) -> list[int]:
        """How many rows it changes with each set of parameters."""
        return await _call(self._counts, connection, many)

    def execute(self, connection: sa.Connection) -> None:
        """Execute it, where it has no parameters and finds nothing."""
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
            raise DBAPIError.instance(
                self.text, None, error, sqlite3.Error, dialect=_SQLITE
            ) from error
        return cursor


async def _call(
    function: Callable[[sa.Connection, A], R], connection: AsyncConnection, argument: A
) -> R:
    """Call a function with the plain connection: SQLAlchemy does so in a greenlet, which takes as long as a short statement, and is of no use where nothing is waited for."""
    plain = connection.sync_connection
    if plain is not None and not plain.invalidated and _is_inline(plain):
        return function(plain, argument)
    return await connection.run_sync(function, argument)


def _is_inline(connection: sa.Connection) -> bool:
    return isinstance(connection.connection.driver_connection, InlineConnection)


def _cursor(connection: sa.Connection) -> Any:
    """A cursor of the driver; one of ours for :class:`InlineConnection` would only pass calls on."""
    ours = connection.connection
    driver = ours.driver_connection
    return driver.cursor_itself() if isinstance(driver, InlineConnection) else ours.cursor()
