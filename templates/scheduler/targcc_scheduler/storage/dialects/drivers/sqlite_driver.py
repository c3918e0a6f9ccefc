"""A statement that SQLite's driver executes itself, see ``..frequent``."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..sqlite_inline import InlineConnection
from .driver_statement import DriverStatement

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
