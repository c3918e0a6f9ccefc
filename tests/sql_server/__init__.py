"""A server that speaks T-SQL for the tests: SQL Server, or Babelfish for PostgreSQL, where ``TARGCC_TEST_SQL_SERVER`` has its URL.

The URL names the database ``master``. Each worker of the tests creates a database, migrates it, and empties it before each test. If a test has
changed tables, indexes or the revision, the worker creates a new database for the next test.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

VARIABLE = "TARGCC_TEST_SQL_SERVER"
_ADDRESS = os.environ.get(VARIABLE, "")  # read now: tests leave the variables of the scheduler out
PARAMS = ["mssql"] if _ADDRESS else []
"""The parameter of fixtures that run each test on each database."""
STORE = os.environ.get("TARGCC_TEST_STORE") == "mssql"
"""Whether tests of pages, API, commands and nodes run on the server instead of SQLite files."""


@cache
def _leave_defaults_to_babelfish() -> None:
    """Leave out statements that drop the default of a column, which Babelfish drops with the column."""

    @sa.event.listens_for(sa.Engine, "before_cursor_execute", retval=True)
    def _without_drop(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> Any:
        drops = "sys.default_constraints" in statement and "drop constraint" in statement.lower()
        return "SELECT 1" if drops else statement, parameters


_REFUSED_FOR_NOW = ("concurrently updated", "exclusive lock on database 'model'")
"""What Babelfish and SQL Server (error 1807) answer when another session creates a database."""
_SHAPE = (
    "SELECT TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS",
    "SELECT OBJECT_NAME(object_id), name FROM sys.indexes",
    "SELECT version_num FROM c_AlembicVersion",
)
"""Queries for what a test may have changed: columns, indexes and the revision."""


class SQLServer:
    """A database of the tests, with the scheduler's tables."""

    def __init__(self) -> None:
        address = sa.make_url(_ADDRESS)
        self._name = f"test_{uuid.uuid4().hex[:12]}"
        self._master = self._connect(address)
        self._master.execute("SELECT SERVERPROPERTY('BabelfishVersion')")
        is_babelfish = self._master.fetchone()[0] is not None
        self._create()
        if is_babelfish:
            _leave_defaults_to_babelfish()
        else:
            self._master.execute(f"ALTER DATABASE {self._name} SET READ_COMMITTED_SNAPSHOT ON")
        self.address = address.set(database=self._name)
        self.url = self.address.render_as_string(hide_password=False)
        self._connection: Any = None
        self._shape: list[set[Any]] = []

    def _create(self) -> None:
        """Create the database; try again, as the server may refuse the databases of two workers at the same time."""
        for pause in (0.5, 1, 2, 4, 8, 0):
            try:
                self._master.execute(f"CREATE DATABASE {self._name}")
                break
            except Exception as error:
                if not pause or not any(text in str(error) for text in _REFUSED_FOR_NOW):
                    raise
                time.sleep(pause * random.uniform(0.5, 1.5))

    @staticmethod
    def _connect(address: sa.URL) -> Any:
        import mssql_python
        from targcc_scheduler.db.dialects import known

        text = known.for_url(address).plain_address(address)
        return mssql_python.connect(text, autocommit=True).cursor()

    def migrate(self) -> None:
        """Create the scheduler's tables."""
        from targcc_scheduler import migrate

        migrate(self.url)
        self._connection = self._connect(self.address)
        self._shape = self._read_shape()

    def is_whole(self) -> bool:
        """Return whether tables, indexes and revision are those of the migration."""
        with suppress(Exception):  # a test took the table of the revision, or ended the session
            return self._read_shape() == self._shape
        return False

    def _read_shape(self) -> list[set[Any]]:
        shape = []
        for sql in _SHAPE:
            self._connection.execute(sql)
            shape.append({tuple(row) for row in self._connection.fetchall()})
        return shape

    def empty(self) -> None:
        """Remove every row except those of the migrations."""
        kept = {"c_alembicversion", "c_jobsetting"}
        names = {name.lower() for name, _ in self._shape[0]}
        tables = {name for name in names if name.startswith("c_")} - kept
        deletes = ";".join(f"TRUNCATE TABLE {name}" for name in sorted(tables))
        self._connection.execute(
            f"{deletes}; DELETE FROM c_JobSetting WHERE Name NOT LIKE 'oldest_code%'"
        )

    def close(self) -> None:
        """Drop the database."""
        if self._connection is not None:
            self._connection.connection.close()
        with suppress(Exception):  # a session of a killed process may still be in it
            self._master.execute(f"DROP DATABASE {self._name}")
        self._master.connection.close()


_COLUMNS = sa.text(
    "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = :name"
    " AND COLUMNPROPERTY(OBJECT_ID(:name), COLUMN_NAME, 'IsIdentity') = 0 ORDER BY ORDINAL_POSITION"
)
_TYPES = {
    "datetime2": sa.DateTime,
    "bit": sa.Boolean,
    "varbinary": sa.LargeBinary,
    "nvarchar": sa.Unicode,
    "varchar": sa.String,
    "float": sa.Float,
}


def reflected(connection: sa.Connection, names: Sequence[str]) -> sa.MetaData:
    """Read the columns of tables, without identities; Babelfish lacks views that SQLAlchemy reads."""
    read = sa.MetaData()
    for name in names:
        columns = [
            sa.Column(
                column,
                (
                    _TYPES[kind](length if length > 0 else None)
                    if length
                    else _TYPES.get(kind, sa.Integer)()
                ),
            )
            for column, kind, length in connection.execute(_COLUMNS, {"name": name})
        ]
        sa.Table(name, read, *columns)
    return read


@contextmanager
def unmigrated() -> Iterator[str]:
    """Yield the URL of an empty database, which is dropped at the end."""
    server = SQLServer()
    try:
        yield server.url
    finally:
        server.close()


class Databases:
    """The migrated database that the tests of a worker share."""

    def __init__(self) -> None:
        self._shared: SQLServer | None = None

    def emptied(self) -> SQLServer:
        """Return the database without rows; create a new one if a test has changed tables, indexes or the revision."""
        if self._shared is not None and not self._shared.is_whole():
            self.close()
        if self._shared is None:
            self._shared = SQLServer()
            self._shared.migrate()
        self._shared.empty()
        return self._shared

    def close(self) -> None:
        """Drop the database."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None


class Row:
    """A row whose values have positions and names, as a row of ``sqlite3``."""

    def __init__(self, names: list[str], values: tuple[Any, ...]) -> None:
        self._names = names
        self._values = values

    def __getitem__(self, key: Any) -> Any:
        return self._values[self._names.index(key.lower()) if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, Row) else other)

    def __hash__(self) -> int:
        return hash(self._values)

    def keys(self) -> list[str]:
        """Return the names of the columns."""
        return self._names


class Query:
    """A connection for a query of a test, with ``?`` for each parameter."""

    def __init__(self, address: sa.URL) -> None:
        self._cursor = SQLServer._connect(address)

    def rows(self, sql: str, parameters: tuple[Any, ...]) -> list[Row]:
        """Return the rows of a query."""
        self._cursor.execute(sql, *parameters)
        if not self._cursor.description:
            return []
        names = [column[0].lower() for column in self._cursor.description]
        return [Row(names, tuple(map(_plain, row))) for row in self._cursor.fetchall()]

    def close(self) -> None:
        """Close the connection."""
        self._cursor.connection.close()


def _plain(value: Any) -> Any:
    """Return a value in the form of SQLite's tables, which the tests compare."""
    if isinstance(value, datetime):
        return value.isoformat(" ", "microseconds")
    return int(value) if isinstance(value, bool) else value
