"""A statement that SQLite's driver executes itself, see ``frequent.py``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError

from .driver_statement import DriverStatement
from .sqlite_inline import InlineConnection

_SQLITE = SQLiteDialect_pysqlite(paramstyle="named")


class SQLiteStatement(DriverStatement):
    """Executed on the connection of a transaction.

    Args:
        statement: What SQLAlchemy makes its text and conversions of.
    """

    def __init__(self, statement: Any) -> None:
        super().__init__(statement, _SQLITE)

    def rows(self, connection: sa.Connection, parameters: Mapping[str, Any]) -> list[Any]:
        """The rows that it finds."""
        return self.named(self._execute(_cursor(connection), parameters).fetchall())

    def counts(self, connection: sa.Connection, many: Iterable[Mapping[str, Any]]) -> list[int]:
        """How many rows it changes with each set of parameters."""
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


def _cursor(connection: sa.Connection) -> Any:
    """A cursor of the driver; one of ours for :class:`InlineConnection` would only pass calls on."""
    ours = connection.connection
    driver = ours.driver_connection
    return driver.cursor_itself() if isinstance(driver, InlineConnection) else ours.cursor()
