"""A server that speaks T-SQL for the tests: SQL Server, or Babelfish for PostgreSQL, where ``TARGCC_TEST_SQL_SERVER`` has its URL.

The URL names the database ``master``. Each worker of the tests makes a database of its own, migrates it once, and empties it for each test.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import sqlalchemy as sa

VARIABLE = "TARGCC_TEST_SQL_SERVER"
PARAMS = ["mssql"] if os.environ.get(VARIABLE) else []
"""The parameter of fixtures that run each test on each database."""


@cache
def _leave_defaults_to_babelfish() -> None:
    """Leave out statements that drop the default of a column, which Babelfish drops with the column."""

    @sa.event.listens_for(sa.Engine, "before_cursor_execute", retval=True)
    def _without_drop(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> Any:
        return "SELECT 1" if "sys.default_constraints" in statement else statement, parameters


class SQLServer:
    """A database of the tests, with the scheduler's tables."""

    def __init__(self) -> None:
        address = sa.make_url(os.environ[VARIABLE])
        self._name = f"test_{uuid.uuid4().hex[:12]}"
        self._master = self._connect(address)
        if self._master.execute("SELECT SERVERPROPERTY('BabelfishVersion')").fetchone()[0]:
            _leave_defaults_to_babelfish()
        self._master.execute(f"CREATE DATABASE {self._name}")
        self.address = address.set(database=self._name)
        self.url = self.address.render_as_string(hide_password=False)
        self._connection: Any = None
        self._first: list[tuple[str, str]] = []

    @staticmethod
    def _connect(address: sa.URL) -> Any:
        import mssql_python
        from targcc_scheduler.db.dialects import known

        text = known.for_url(address).plain_address(address)
        return mssql_python.connect(text, autocommit=True).cursor()

    def empty(self) -> None:
        """Remove every row except those of the migrations."""
        if self._connection is None:
            self._connection = self._connect(self.address)
            self._connection.execute("SELECT name FROM sys.tables WHERE name LIKE 'c[_]%'")
            tables = [row[0] for row in self._connection.fetchall()]
            kept = {"c_alembicversion", "c_jobsetting"}
            self._tables = [name for name in tables if name.lower() not in kept]
        deletes = ";".join(f"TRUNCATE TABLE {name}" for name in self._tables)
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


@contextmanager
def running() -> Iterator[SQLServer]:
    """Yield a migrated database, which is dropped at the end."""
    from targcc_scheduler import migrate

    server = SQLServer()
    try:
        migrate(server.url)
        yield server
    finally:
        server.close()
