"""SQLite: one file, one writer at a time, no other process to wait for."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import quoted_name

from ..runs.transition import SETTLE
from ..tables import UtcDateTime, logged_job
from . import sqlite_inline
from .base import Insert

_BUSY_SECONDS = 15
"""How long SQLite waits for another process to finish writing."""

_INSTANTS = ("completed_at", "due_at")
_SETTLE = sa.text(SETTLE.format(given=":", source="")).bindparams(
    *(sa.bindparam(name, type_=UtcDateTime) for name in _INSTANTS)
)


class SQLiteDialect:
    """See :class:`~.base.Dialect`."""

    name = "sqlite"
    commits_cost = False
    version_table = quoted_name("c_AlembicVersion", quote=False)

    def folded(self, name: str) -> str:
        """SQLite keeps names as they were written."""
        return name

    def url(self, url: sa.URL, *, is_async: bool) -> sa.URL:
        """``aiosqlite`` or Python's own ``sqlite3``."""
        return url.set(drivername="sqlite+aiosqlite" if is_async else "sqlite+pysqlite")

    def make_engine(self, url: sa.URL) -> AsyncEngine:
        """Connections of ``aiosqlite``, each with a thread."""
        engine = create_async_engine(self.url(url, is_async=True), pool_size=4, max_overflow=4)
        self.set_up(engine.sync_engine)
        return engine

    def make_inline_engine(self, url: sa.URL) -> AsyncEngine:
        """Connections that do not wait for other writers: "database is locked" comes at once, and :meth:`begin_write` tries again."""
        file = url.database or ""
        engine = create_async_engine(
            self.url(url, is_async=True),
            pool_size=2,
            max_overflow=8,
            async_creator=lambda *_, **__: sqlite_inline.connect(file),
        )
        event.listen(engine.sync_engine, "connect", _on_inline_connect)
        event.listen(engine.sync_engine, "begin", _on_begin)
        return engine

    def set_up(self, engine: sa.Engine) -> None:
        """WAL, and transactions that begin where SQLAlchemy says so.

        Python's ``sqlite3`` begins a transaction by itself, late and without the write lock; two processes that both read and then
        write would fail with "database is locked" at once. So it is told not to, and ``BEGIN IMMEDIATE`` is sent for writers.
        """
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)

    async def begin_write(self, connection: AsyncConnection) -> None:
        """Take the write lock; while another process has it, try again and again."""
        deadline, pause = time.monotonic() + _BUSY_SECONDS, 0.001
        while True:
            try:
                await connection.begin()
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() > deadline:
                    raise
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)

    def insert_ignore(self, table: sa.Table, keys: Sequence[sa.Column[Any]]) -> Insert:
        """``ON CONFLICT DO NOTHING``."""
        return insert(table).on_conflict_do_nothing(index_elements=list(keys))

    def upsert(
        self, table: sa.Table, keys: Sequence[sa.Column[Any]], values: Mapping[str, Any]
    ) -> Insert:
        """``ON CONFLICT DO UPDATE``."""
        statement = insert(table).values(dict(values))
        return statement.on_conflict_do_update(index_elements=list(keys), set_=dict(values))

    async def lock_job(self, connection: AsyncConnection, job_name: str) -> None:
        """Nothing to lock: a transaction that writes is alone."""

    async def lock_alerts(self, connection: AsyncConnection, job_name: str) -> None:
        """Nothing to lock: a transaction that writes is alone."""

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Nothing to lock: a transaction that writes is alone."""

    def analyze(self, engine: sa.Engine, tables: Sequence[str]) -> None:
        """Nothing to do: SQLite plans anew for each statement."""

    def committed_before(self, column: sa.Column[Any], instant: Any) -> sa.ColumnElement[bool]:
        """One writer at a time: ids are committed in their order."""
        del column, instant
        return sa.true()

    async def settle_batch(
        self,
        connection: AsyncConnection,
        rows: Sequence[Mapping[str, Any]],
        histories: Sequence[Mapping[str, Any] | None],
    ) -> frozenset[tuple[int, int]]:
        """A statement for each run costs microseconds, and tells whether the run was found."""
        written: set[tuple[int, int]] = set()
        attempts: list[dict[str, Any]] = []
        for row, history in zip(rows, histories, strict=True):
            if (await connection.execute(_SETTLE, dict(row))).rowcount == 1:
                written.add((row["run_id"], row["attempt"]))
                attempts += [dict(history)] if history is not None else []
        if attempts:
            await connection.execute(logged_job.insert(), attempts)
        return frozenset(written)


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
