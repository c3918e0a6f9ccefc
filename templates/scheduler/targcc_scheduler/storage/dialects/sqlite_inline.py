"""SQLite on the event loop itself, for the scheduler's own short transactions.

``aiosqlite`` hands every call to a thread and waits for the answer: forty times for one run, which costs ten times what SQLite does.
Here the calls are made on the spot. They take microseconds and hardly wait for another process, because the only thing that would wait long,
taking the write lock, is tried again from outside (see ``store``). Queries that may be long, such as those of pages, stay with
``aiosqlite``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

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
