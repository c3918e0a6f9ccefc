"""A read-only transaction on each kind of database, which keeps nobody from writing."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targcc_gen.errors import InputError
from targcc_gen.readers.database.address import Address

if TYPE_CHECKING:
    import sqlite3

    import sqlalchemy as sa

_LOCK_SECONDS = 5
"""How long a statement waits for a lock, which only a change of the table's columns can hold against it."""
_NAME = "targcc-gen import-legacy"
_VERSIONS = "SELECT snapshot_isolation_state, is_read_committed_snapshot_on FROM sys.databases WHERE database_id = DB_ID()"


class Session:
    """An open transaction.

    Attributes:
        connection: Where statements go.
        is_consistent: Whether all of it sees one instant. If not, somebody may write between two tables, or in the middle of one.
    """

    def __init__(self, connection: sa.Connection, *, is_consistent: bool = True) -> None:
        self.connection = connection
        self.is_consistent = is_consistent


@contextlib.contextmanager
def read_only(address: Address, seconds: float) -> Iterator[Session]:
    """A transaction that is rolled back at the end.

    Args:
        address: The database.
        seconds: How long a log-in may take, and each statement.

    Raises:
        InputError: There is no such file.
        Exception: The driver's own, when the server cannot be reached or refuses.
    """
    openers = {"sqlite": _sqlite, "postgresql": _postgresql, "mssql": _sql_server}
    with openers[address.kind](address, seconds) as session:
        try:
            yield session
        finally:
            session.connection.rollback()


@contextlib.contextmanager
def _postgresql(address: Address, seconds: float) -> Iterator[Session]:
    """REPEATABLE READ READ ONLY: one snapshot. Its ``ACCESS SHARE`` lock stands against ``ALTER TABLE`` and the like alone."""
    arguments = {"connect_timeout": max(math.ceil(seconds), 2), "application_name": _NAME}
    with _engine(address.url, arguments).connect() as plain:
        connection = plain.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        limit = math.ceil(seconds * 1000)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {limit}")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_LOCK_SECONDS * 1000}")
        yield Session(connection)


@contextlib.contextmanager
def _sql_server(address: Address, seconds: float) -> Iterator[Session]:
    """SNAPSHOT where the database allows it, else READ COMMITTED over row versions, else READ UNCOMMITTED: none locks a row.

    READPAST would leave out rows that somebody is changing, in silence, and is not used. SQL Server knows no read-only transaction:
    only ``SELECT`` is sent, and what was begun is rolled back.
    """
    arguments = {"timeout": math.ceil(seconds)}
    with _engine(address.url, arguments).connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.timeout = math.ceil(seconds)  # of each statement; cursors take it along
        level = _isolation(connection)
        connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        connection.exec_driver_sql(f"SET LOCK_TIMEOUT {_LOCK_SECONDS * 1000}")
        connection.commit()  # a transaction that has begun takes no other level
        yield Session(connection, is_consistent=level == "SNAPSHOT")


def _isolation(connection: sa.Connection) -> str:
    row = connection.exec_driver_sql(_VERSIONS).first()
    snapshot, versions = (row[0], row[1]) if row else (0, 0)
    if snapshot == 1:
        return "SNAPSHOT"
    return "READ COMMITTED" if versions else "READ UNCOMMITTED"


@contextlib.contextmanager
def _sqlite(address: Address, seconds: float) -> Iterator[Session]:
    """``mode=ro`` and a read transaction. With a write-ahead log nobody waits for it.

    With a rollback journal a reader keeps writers from committing: there the file is copied first, under the lock of a moment, and the copy is
    read.
    """
    import sqlite3

    path = Path(str(address.url.database))
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(contextlib.closing(_open(path, seconds)))
        (journal,) = source.execute("PRAGMA journal_mode").fetchone()
        if journal.lower() != "wal":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="targcc-"))
            copy = Path(folder) / "copy.db"
            with contextlib.closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            source = stack.enter_context(contextlib.closing(_open(copy, seconds)))
        connection = stack.enter_context(_engine(address.url, {}, lambda: source).connect())
        connection.exec_driver_sql("BEGIN")
        yield Session(connection)


def _open(path: Path, seconds: float) -> sqlite3.Connection:
    import sqlite3

    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=seconds, isolation_level=None)  # fmt: skip


def _engine(url: sa.URL, arguments: dict[str, Any], creator: Any = None) -> sa.Engine:
    import sqlalchemy as sa

    made = {} if creator is None else {"creator": creator}
    return sa.create_engine(url, connect_args=arguments, poolclass=sa.NullPool, **made)
