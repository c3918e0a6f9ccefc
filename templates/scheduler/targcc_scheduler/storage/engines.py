"""Connections to the scheduler's database."""

from __future__ import annotations

import contextlib
import select
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from .dialects import sqlite_inline

WRITES = {"targcc_writes": True}
"""Execution options of a connection that is going to write: on SQLite its transaction takes the write lock at once."""

_BUSY_SECONDS = 15
"""How long SQLite waits for another process to finish writing."""

_PATIENCE = {"connect_timeout": 10, "tcp_user_timeout": 20_000}
"""How long PostgreSQL may say nothing: seconds while connecting, milliseconds later. The system's own default is many minutes."""
_ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
_SYNC_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}


@dataclass(frozen=True)
class SchemaStep:
    """Tables of somebody else that the scheduler needs, such as those of an engine.

    Args:
        is_current: Whether they are as they should be.
        install: Creates them, or brings them up to date, in the transaction of the connection.
    """

    is_current: Callable[[sa.Connection], bool]
    install: Callable[[sa.Connection], None]


def make_engine(url: str | sa.URL) -> AsyncEngine:
    """The async engine for a database URL; the driver is chosen here.

    Args:
        url: ``sqlite:///file.db`` or ``postgresql://…``.
    """
    parsed = _with_driver(url, _ASYNC_DRIVERS)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(parsed, pool_size=4, max_overflow=4)
        _set_up_sqlite(engine.sync_engine)
        return engine
    options = {name: value for name, value in _PATIENCE.items() if name not in parsed.query}
    engine = create_async_engine(parsed, pool_size=5, max_overflow=10, connect_args=options)
    event.listen(engine.sync_engine, "checkout", _on_checkout)
    return engine


def make_inline_engine(url: str | sa.URL) -> AsyncEngine | None:
    """An engine for short transactions on the event loop itself; ``None`` where there is no such thing (all but SQLite).

    Its connections do not wait for other writers: "database is locked" comes at once, and the caller tries again.
    """
    parsed = _with_driver(url, _ASYNC_DRIVERS)
    if parsed.get_backend_name() != "sqlite":
        return None
    file = parsed.database or ""
    engine = create_async_engine(
        parsed,
        pool_size=2,
        max_overflow=8,
        async_creator=lambda *_, **__: sqlite_inline.connect(file),
    )
    event.listen(engine.sync_engine, "connect", _on_inline_connect)
    event.listen(engine.sync_engine, "begin", _on_begin)
    return engine


def _with_driver(url: str | sa.URL, drivers: dict[str, str]) -> sa.URL:
    parsed = sa.make_url(url)
    return parsed.set(drivername=drivers.get(parsed.get_backend_name(), parsed.drivername))


@contextlib.contextmanager
def sync_engine(url: str | sa.URL) -> Iterator[sa.Engine]:
    """A plain engine for a few statements; its connections are closed at the end."""
    engine = sa.create_engine(_with_driver(url, _SYNC_DRIVERS), poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def _on_checkout(connection: Any, _record: Any, _proxy: Any) -> None:
    """Give nobody a connection that the server has closed.

    That makes its socket readable; looking costs a system call, where ``pool_pre_ping`` costs a round trip for each transaction.
    """
    socket = connection.driver_connection.fileno()
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(socket, select.POLLIN)
        readable = bool(poll.poll(0))
    else:
        readable = bool(select.select([socket], [], [], 0)[0])
    if readable:
        raise InvalidatePoolError("PostgreSQL has closed the connection")


def _set_up_sqlite(engine: sa.Engine) -> None:
    """WAL, and transactions that begin where SQLAlchemy says so.

    Python's ``sqlite3`` begins a transaction by itself, late and without the write lock; two processes that both read and then
    write would fail with "database is locked" at once. So it is told not to, and ``BEGIN IMMEDIATE`` is sent for writers.
    """
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)


def _on_inline_connect(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    _tune(cursor)
    cursor.close()


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    _tune(cursor)
    cursor.close()


def _tune(cursor: Any) -> None:
    # A power cut may cost the last moments, never the file.
    cursor.execute("PRAGMA synchronous = NORMAL")
    _switch_to_wal(cursor)


def _switch_to_wal(cursor: Any) -> None:
    """Make the file a WAL database for ever. SQLite does not wait by itself when two processes try that at once."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode")
            if cursor.fetchone()[0] != "wal":
                cursor.execute("PRAGMA journal_mode = WAL")
                cursor.fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _on_begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("targcc_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
