"""SQLite: a single file, a single writer at a time, no server to wait for, and a text index with FTS5."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import quoted_name

from ...core import owner_only
from ..tables import job_run, job_setting
from . import base, sqlite_driver
from .base import CommonMethods, ConflictInserts, Dialect
from .frequent import FrequentStatement
from .sqlite_driver import SQLiteStatement
from .text_index import Clause, TextIndex

if TYPE_CHECKING:
    from .lock import Lock

# SQLite text index: FTS5 with the trigram tokenizer (SQLite 3.34 or later).

_SQLITE_TEXT = sa.table("c_JobText", sa.column("rowid"))
_SQLITE_REMOVE = sa.text("DELETE FROM c_JobText WHERE rowid = :run_id")
_ADD = sa.text("INSERT INTO c_JobText (rowid, Body) VALUES (:run_id, :body)")
_TABLE_NAMED = sa.text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name")
_IS_THERE = sa.text("SELECT 1 FROM sqlite_master WHERE name = 'c_JobText'")
CREATE_INDEX = (
    "CREATE VIRTUAL TABLE c_JobText USING fts5(Body, tokenize = 'trigram', detail = none)",
    (
        "INSERT OR REPLACE INTO c_JobSetting (Name, Value, UpdatedAt)"
        " SELECT 'unindexed runs', Id, CURRENT_TIMESTAMP FROM c_JobRun ORDER BY Id DESC LIMIT 1"
    ),
)
"""Statements that create the index later, where the SQLite of the migration had no trigram tokenizer; nodes then index the existing runs."""
_HAS_FTS5 = sa.text("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'")


class SQLiteTexts:
    """SQLite implementation of :class:`.index.TextIndex`."""

    can_exist = True

    async def is_there(self, connection: AsyncConnection) -> bool:
        """Return whether the migration created the index and this process's SQLite has FTS5.

        Another Python on the machine may have a SQLite without FTS5.
        """
        return (
            await connection.scalar(_IS_THERE) is not None
            and await connection.scalar(_HAS_FTS5) is not None
        )

    async def write(self, connection: AsyncConnection, texts: Mapping[int, str | None]) -> None:
        """Write a row for each text."""
        if texts:
            await connection.execute(_SQLITE_REMOVE, [{"run_id": run_id} for run_id in texts])
        if new := [{"run_id": run_id, "body": body} for run_id, body in texts.items() if body]:
            await connection.execute(_ADD, new)

    def find(
        self, clauses: Sequence[Clause], where: sa.ColumnElement[bool], limit: int, below: int
    ) -> list[tuple[int, sa.Select[Any]]]:
        """Read FTS5 rows one by one, newest first. The unary plus keeps SQLite from beginning with ``c_JobRun``."""
        asks = sa.text("c_JobText MATCH :asked").bindparams(asked=expression(clauses))
        same = sa.text("c_JobRun.Id = +c_JobText.rowid")
        both = _SQLITE_TEXT.join(job_run, same)
        statement = (
            sa.select(job_run).select_from(both).where(asks, _SQLITE_TEXT.c.rowid < below, where)
        )
        return [(below, statement.order_by(sa.desc(_SQLITE_TEXT.c.rowid)).limit(limit))]


def expression(clauses: Sequence[Clause]) -> str:
    """Return the clauses in FTS5 query syntax."""
    return _joined(
        " AND ", (_joined(" OR ", (_joined(" AND ", map(_quoted, sorted(gram_set))) for gram_set in clause)) for clause in clauses)
    )  # fmt: skip


def _joined(word: str, parts: Iterable[str]) -> str:
    return f"({word.join(parts)})"


def _quoted(gram: str) -> str:
    doubled = gram.replace('"', '""')
    return f'"{doubled}"'


# SQLite: a single file, a single writer at a time, no server to wait for.

_BUSY_SECONDS = 15
"""Seconds to wait for another process to finish writing."""

_INCREMENTAL = 2
_POOLED: dict[str, Any] = {"poolclass": sa.AsyncAdaptedQueuePool, "hide_parameters": True}
"""Options of engines with a pool; SQLAlchemy before 2.0.38 has no pool for files by default."""
_INTERRUPT_SECONDS = 0.05

_UPDATE_NO_ROW = sa.update(job_run).where(sa.false()).values(Id=job_run.c.Id)
_INSERT_RUNS = (
    insert(job_run)
    .on_conflict_do_nothing(index_elements=[job_run.c.JobName, job_run.c.ScheduledFor])
    .returning(job_run.c.Id, job_run.c.JobName, job_run.c.ScheduledFor)
)


_NEWEST_ID = "newest run id"
"""Setting with the largest id of the runs at the latest deletion: SQLite gives the id of a deleted newest row again."""
_newest = sa.select(sa.func.max(job_run.c.Id)).scalar_subquery()
_given = (
    sa.select(sa.cast(job_setting.c.Value, sa.Integer))
    .where(job_setting.c.Name == _NEWEST_ID)
    .scalar_subquery()
)
_NEXT_ID = sa.func.max(sa.func.coalesce(_newest, 0), sa.func.coalesce(_given, 0)) + 1
_KEEP_ID = insert(job_setting).from_select(
    ["Name", "Value", "UpdatedAt"],
    sa.select(
        sa.literal(_NEWEST_ID), sa.cast(_NEXT_ID - 1, sa.Text), sa.func.current_timestamp()
    ).where(sa.true()),
)
_KEEP_ID = _KEEP_ID.on_conflict_do_update(
    index_elements=[job_setting.c.Name], set_={"Value": _KEEP_ID.excluded.Value}
)


@cache
def _insert_run(columns: tuple[str, ...]) -> FrequentStatement:
    values: dict[str, sa.ColumnElement[Any]] = {name: sa.bindparam(name) for name in columns}
    return FrequentStatement(_INSERT_RUNS.values({**values, "Id": _NEXT_ID}))


class SQLiteDialect(ConflictInserts, CommonMethods):
    """The SQLite dialect; :class:`~.base.Dialect` describes the methods."""

    name = "sqlite"
    most_rows = 5_000
    commits_cost = False
    many_writers = False
    wait_briefly: sa.TextClause | None = None
    wait_on: sa.TextClause | None = None
    clock: sa.ColumnElement[Any] = sa.null()
    savepoint = base.SAVEPOINT
    conflict_insert = Insert
    version_table = quoted_name("c_AlembicVersion", quote=False)
    speak_for_sql = base.speak_for(
        ":{}",
        now="strftime('%Y-%m-%d %H:%M:%f000', 'now')",
        since="strftime('%Y-%m-%d %H:%M:%f000', 'now', '-' || :seconds || ' seconds')",
    )
    running_sql = base.running(":{}")
    texts: TextIndex = SQLiteTexts()
    has_queue = False
    has_lease = False
    locks_readers = False
    keepalive_driver = "sqlite3"
    index_names = sa.text("SELECT name FROM sqlite_master WHERE type = 'index'")
    names_constraints = False
    returns_queries = True
    concatenates = "||"
    notes_ended_runs = True
    changes_in_ctes = False

    def folded(self, name: str) -> str:
        """Return the name unchanged, as SQLite stores names as written."""
        return name

    def url(self, url: sa.URL, *, is_async: bool) -> sa.URL:
        """Return the URL with ``aiosqlite``, or with Python's own ``sqlite3`` for sync engines."""
        return url.set(drivername="sqlite+aiosqlite" if is_async else "sqlite+pysqlite")

    def file(self, url: sa.URL) -> Path | None:
        """Return the path of the database; ``None`` for a URL without a path."""
        return Path(url.database) if url.database else None

    def plain_address(self, url: sa.URL) -> str:
        """Return a URI that opens the file only if it exists."""
        return sqlite_driver.existing(url.database or "")

    async def has_table(self, connection: AsyncConnection, name: str) -> bool:
        """Look the table up in the file's schema."""
        return await connection.scalar(_TABLE_NAMED, {"name": name}) is not None

    async def opened_url(self, connection: AsyncConnection, url: sa.URL) -> sa.URL:
        """Return a URL with the path of the open file."""
        return url.set(database=await _main_file(connection))

    async def held_locks(self, connection: AsyncConnection, seconds: float) -> list[Lock]:
        """Wait up to ``seconds`` for the write lock, and release the lock at once."""
        from .sqlite_locks import writer

        name = await _main_file(connection)
        lock = await asyncio.to_thread(writer, Path(name), seconds) if name else None
        return [lock] if lock is not None else []

    async def read_clock(self, connection: AsyncConnection) -> None:
        """Return ``None``: all nodes are on this machine and share its clock."""
        del connection

    def make_engine(self, url: sa.URL, pool_size: int | None = None) -> AsyncEngine:
        """Create an engine of ``aiosqlite`` connections, each with a thread; the connections open an existing file and create none."""
        del pool_size  # a file has no limit of connections
        address = self.url(url, is_async=True)
        if address.database:
            uri, _, _ = sqlite_driver.existing(address.database).partition("?")
            address = address.set(database=uri).update_query_dict({"mode": "rw", "uri": "true"})
        engine = create_async_engine(address, pool_size=4, max_overflow=4, **_POOLED)
        self.set_up(engine.sync_engine)
        return engine

    def make_reading_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """Create an engine like :meth:`make_engine`; ``query_only`` refuses every write."""
        address = self.url(url, is_async=True)
        engine = create_async_engine(
            address, pool_size=4, max_overflow=0, pool_timeout=limit, **_POOLED
        )
        self.set_up(engine.sync_engine)
        event.listen(engine.sync_engine, "connect", _on_reading_connect)
        return engine

    def make_looking_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """Create an engine that opens the file read-only: the file is not created, and no pragma changes it."""
        file = self.file(url) or Path()
        address = self.url(url, is_async=True).set(database=f"{file.absolute().as_uri()}?mode=ro")
        return create_async_engine(
            address.update_query_dict({"uri": "true"}),
            poolclass=sa.NullPool,
            hide_parameters=True,
            connect_args={"timeout": limit},
        )

    async def stop_query(self, connection: AsyncConnection, asking: asyncio.Future[Any]) -> None:
        """Interrupt the connection repeatedly, because an interrupt between two statements has no effect."""
        driver = (await connection.get_raw_connection()).driver_connection
        while not asking.done() and driver is not None:
            await driver.interrupt()
            await asyncio.wait({asking}, timeout=_INTERRUPT_SECONDS)

    def make_inline_engine(self, url: sa.URL) -> AsyncEngine:
        """Create an engine whose connections do not wait for other writers.

        The error "database is locked" is raised at once, and :meth:`begin_write` retries.
        """
        file = url.database or ""
        engine = create_async_engine(
            self.url(url, is_async=True),
            pool_size=2,
            max_overflow=8,
            **_POOLED,
            async_creator=lambda *_, **__: sqlite_driver.connect(file),
        )
        event.listen(engine.sync_engine, "connect", _on_inline_connect)
        event.listen(engine.sync_engine, "begin", _on_inline_begin)
        return engine

    def is_open(self, connection: AsyncConnection) -> bool:
        """Return true: only this process closes the connection."""
        del connection
        return True

    def set_up(self, engine: sa.Engine) -> None:
        """Set WAL mode, and begin transactions when SQLAlchemy says so.

        Python's ``sqlite3`` begins a transaction by itself, late and without the write lock; two processes that both read and then write
        would fail with "database is locked" at once. Therefore the driver's own begin is turned off, and writers send ``BEGIN IMMEDIATE``.
        """
        event.listen(engine, "do_connect", _on_do_connect)
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)

    async def begin_write(self, connection: AsyncConnection) -> None:
        """Take the write lock; retry while another process holds it."""
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

    async def lock_writes(self, connection: AsyncConnection) -> None:
        """Take the write lock by an update of no row, which waits for other writers.

        A transaction that has read cannot write any more once another process has committed: SQLite answers "database is locked" at once.
        """
        await connection.execute(_UPDATE_NO_ROW)

    async def lock_job(self, connection: AsyncConnection, *job_names: str) -> None:
        """Do nothing: a write transaction runs alone."""

    async def lock_alerts(self, connection: AsyncConnection, job_name: str) -> None:
        """Do nothing: a write transaction runs alone."""

    def try_lock_audit(self, connection: sa.Connection) -> bool:
        """Return true: a write transaction runs alone."""
        del connection
        return True

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Do nothing: a write transaction runs alone."""

    def analyze(self, engine: sa.Engine, tables: Sequence[str]) -> None:
        """Do nothing: SQLite plans each statement anew."""

    def committed_before(self, column: sa.Column[Any], instant: Any) -> sa.ColumnElement[bool]:
        """Return true: with a single writer at a time ids are committed in order."""
        del column, instant
        return sa.true()

    async def insert_runs(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[sa.Row[int, str, datetime | None]]:
        """Insert the first row by the driver with an id that no run had, and the others by few statements that SQLAlchemy builds."""
        rest, new = list(rows), list[Any]()
        while rest and not new:  # a slot that has a run leaves the next id to the next row
            row = rest.pop(0)
            new += await _insert_run(tuple(row)).all(connection, row)
        if rest:
            new += (await connection.execute(_INSERT_RUNS, [dict(row) for row in rest])).all()
        return sorted(new, key=lambda row: row[0])  # ids are assigned in the order of the rows

    def make_quick_connection(self, url: sa.URL) -> sqlite_driver.QuickConnection | None:
        """Return the connection for single inserts; ``None`` for a database in memory."""
        return sqlite_driver.QuickConnection(url.database) if url.database else None

    def make_loop_connections(self, url: sa.URL) -> None:
        """Return ``None``: the thread of the caller inserts."""
        del url

    def insert_run_at_once(
        self, connection: sqlite_driver.QuickConnection, row: Mapping[str, Any]
    ) -> int | None:
        """Insert a run without a slot in a transaction of its own; return its id, or ``None`` if that is not possible now."""
        new = _insert_run(tuple(row)).at_once(connection, row)
        return new[0].Id if new else None

    async def keep_ids(self, connection: AsyncConnection) -> None:
        """Store the largest id, so that :meth:`insert_runs` does not give the id of a deleted run again."""
        await connection.execute(_KEEP_ID)

    def among(self, column: sa.Column[Any], keys: Sequence[int]) -> sa.ColumnElement[bool]:
        """Compare with a list in JSON."""
        listed = sa.func.json_each(json.dumps(list(keys))).table_valued("value")
        return column.in_(sa.select(listed.c.value))

    def newest_each(
        self,
        columns: Sequence[sa.Column[Any]],
        jobs: Sequence[str],
        each: int,
        where: Sequence[sa.ColumnElement[bool]],
    ) -> sa.Select[Any]:
        """Join a list in JSON; SQLite has no ``LATERAL``."""
        job = sa.func.json_each(json.dumps(list(jobs))).table_valued("value", name="job")
        return base.newest_of_listed(columns, job, job.c.value, each, where)

    def newest_states(
        self, jobs: Mapping[str, int], each: int, states: Sequence[str | None]
    ) -> sa.Select[Any]:
        """Aggregate the runs of each job in subqueries; the jobs are an object in JSON."""
        job = sa.func.json_each(json.dumps(dict(jobs))).table_valued("key", "value", name="job")
        lists = (
            sa.select(sa.func.json_group_array(sa.func.json_array(*runs.c), type_=sa.Text))
            for runs in base.newest_in_states(job.c.key, job.c.value, each, states)
        )
        return sa.select(job.c.key, *(listed.scalar_subquery() for listed in lists))

    async def give_back(self, connection: AsyncConnection, pages: int) -> bool:
        """Run ``incremental_vacuum`` on files created for it. Free page by page, because the pragma frees a page for each row that is read."""
        if not await _is_incremental(connection):
            return False
        for _ in range(min(pages, await _pragma(connection, "freelist_count"))):
            await connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")
        return await _pragma(connection, "freelist_count") > 0

    async def kept_bytes(self, connection: AsyncConnection) -> int:
        """Return the size of the free pages of a file created before ``auto_vacuum`` was set."""
        if await _is_incremental(connection):
            return 0
        return await _pragma(connection, "freelist_count") * await _pragma(connection, "page_size")


DIALECT: Dialect = SQLiteDialect()


async def _main_file(connection: AsyncConnection) -> str:
    """Return the path of the open file; empty for a database in memory."""
    files = await connection.execute(sa.text("PRAGMA database_list"))
    return next((str(row[2]) for row in files if row[1] == "main"), "")


async def _pragma(connection: AsyncConnection, name: str) -> int:
    return int((await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one())


async def _is_incremental(connection: AsyncConnection) -> bool:
    return await _pragma(connection, "auto_vacuum") == _INCREMENTAL


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


def _on_do_connect(_dialect: Any, _record: Any, given: Sequence[Any], _options: Any) -> None:
    """Create a missing file as readable by its owner alone. SQLite gives its ``-wal`` and ``-shm`` the same mode, but no access list."""
    file = str(given[0]) if given else ""
    if file and not file.startswith((":", "file:")):
        with contextlib.suppress(OSError):  # SQLite's own error is clearer
            owner_only.create(Path(file))
        if owner_only.WINDOWS is not None:
            beside = [Path(f"{file}{end}") for end in ("-wal", "-shm")]
            owner_only.WINDOWS.follow(Path(file), beside)


def _on_reading_connect(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.close()


def _tune(cursor: Any) -> None:
    # A power cut may lose the last commits; SQLite guarantees that the file stays consistent.
    cursor.execute("PRAGMA synchronous = NORMAL")
    _switch_to_wal(cursor)


def _switch_to_wal(cursor: Any) -> None:
    """Switch the file to WAL mode permanently. SQLite itself does not wait when two processes try to switch at once."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA page_count")
            if cursor.fetchone()[0] == 0:  # a new file: allow to return unused pages
                cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
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
    connection.exec_driver_sql(_begin(connection))


@cache
def _statement(text: str) -> SQLiteStatement:
    return SQLiteStatement(sa.text(text))


def _on_inline_begin(connection: sa.Connection) -> None:
    _statement(_begin(connection)).execute(connection)


def _begin(connection: sa.Connection) -> str:
    writes = connection.get_execution_options().get("targcc_writes", False)
    return "BEGIN IMMEDIATE" if writes else "BEGIN"
