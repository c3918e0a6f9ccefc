"""SQL Server: many concurrent writers, a round trip for each statement, no text index."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.mssql.base import MSDialect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import quoted_name

from ...core.outage import NO_APPLOCK
from ..columns import UtcDateTime
from ..tables import job_run
from . import base
from .base import Dialect, ServerMethods
from .text_index import Clause, TextIndex
from .tsql import MOST_PARAMETERS, TSQL, GuardedInsert, guarded

if TYPE_CHECKING:
    from .lock import Lock


class MSSQLTexts:
    """Without a text index: searches compare the texts run by run, within their time limit."""

    can_exist = False

    async def is_there(self, connection: AsyncConnection) -> bool:
        """Return ``False``: SQL Server has no index of this kind."""
        del connection
        return False

    async def write(self, connection: AsyncConnection, texts: Mapping[int, str | None]) -> None:
        """Write nothing."""

    def find(
        self, clauses: Sequence[Clause], where: sa.ColumnElement[bool], limit: int, below: int
    ) -> list[tuple[int, sa.Select[Any]]]:
        """Select the newest runs that meet the condition."""
        del clauses
        statement = sa.select(job_run).where(job_run.c.Id < below, where)
        return [(below, statement.order_by(job_run.c.Id.desc()).limit(limit))]


_CLOCK = sa.func.sysutcdatetime(type_=UtcDateTime())
_MOST_ROWS = 500
"""Most rows of an insert."""
_NAMED = "DECLARE @name nvarchar(255) = CONCAT(DB_ID(), '/', :name); "
"""Puts the database's number before the name of an application lock, as Babelfish has one set of locks for all databases."""
_GET = (
    _NAMED
    + "DECLARE @answer int; EXEC @answer = sp_getapplock @Resource = @name, @LockMode = 'Exclusive',"
    " @LockOwner = '{owner}', @LockTimeout = {milliseconds}; "
)
_LOCK = sa.text(
    _GET.format(owner="Transaction", milliseconds=-1)
    + f"IF @answer < 0 THROW {NO_APPLOCK}, N'the application lock was not given', 1"
)
"""Waits for the lock. ``sp_getapplock`` answers with a negative number, not with an error, where the lock is not given."""
_TRY = "SELECT @answer AS answer"
_TRY_LOCK = sa.text(_GET.format(owner="Transaction", milliseconds=0) + _TRY)
_TRY_LEASE = sa.text(_GET.format(owner="Session", milliseconds=0) + _TRY)
_HELD = sa.text(
    _NAMED
    + "SELECT APPLOCK_MODE('public', @name, 'Session'), APPLOCK_TEST('public', @name, 'Exclusive', 'Session')"
)
_SAVEPOINT = base.Savepoint(
    set=sa.text("SAVE TRANSACTION c_Savepoint"),
    undo=sa.text("ROLLBACK TRANSACTION c_Savepoint; SAVE TRANSACTION c_Savepoint"),
    release=None,
)
_SAME_NAMES = sa.text(
    "SELECT STRING_AGG(CAST(value AS nvarchar(max)), ', ') FROM OPENJSON(:names) WITH (value nvarchar(200) '$')"
    " GROUP BY value HAVING COUNT(*) > 1"
)
_HOLD_SETTING = sa.text(
    "UPDATE c_JobSetting SET Value = Value OUTPUT inserted.Value WHERE Name = :name"
)
_LONGEST_RESOURCE = 240
"""Most characters of the name of an application lock, without the database's number."""


class MSSQLDialect(ServerMethods):
    """The SQL Server dialect; :class:`~.base.Dialect` describes the methods."""

    name = "mssql"
    most_rows = 1_000
    """With 5,000 locks of rows and entries of indexes, the server locks the whole table instead."""
    commits_cost = True
    many_writers = True
    wait_briefly: sa.TextClause | None = sa.text("SET LOCK_TIMEOUT 100")
    wait_on: sa.TextClause | None = sa.text("SET LOCK_TIMEOUT -1")
    clock: sa.ColumnElement[Any] = _CLOCK
    savepoint = _SAVEPOINT
    version_table = quoted_name("c_AlembicVersion", quote=False)
    speak_for_sql = base.speak_for(
        "%({})s",
        now="SYSUTCDATETIME()",
        since="DATEADD(second, -CAST(%(seconds)s AS int), SYSUTCDATETIME())",
    )
    running_sql = "SELECT TOP 10 Id, JobName FROM c_JobRun WHERE State = 'running' AND ServerId = %(id)s ORDER BY Id"
    texts: TextIndex = MSSQLTexts()
    has_queue = False
    has_lease = True
    locks_readers = True
    keepalive_driver = "mssql_python"
    index_names = sa.text("SELECT name FROM sys.indexes WHERE name IS NOT NULL AND is_disabled = 0")
    names_constraints = True
    notes_ended_runs = False  # a table with triggers refuses statements with OUTPUT
    changes_in_ctes = False
    returns_queries = False
    concatenates = "+"

    def folded(self, name: str) -> str:
        """Return the name unchanged, as SQL Server stores names as written."""
        return name

    def url(self, url: sa.URL, *, is_async: bool) -> sa.URL:
        """Return the URL with ``mssql-python``, for async engines in threads."""
        if is_async:
            from .mssql_driver import DRIVER

            return url.set(drivername=DRIVER)
        return url.set(drivername="mssql+mssqlpython")

    def plain_address(self, url: sa.URL) -> str:
        """Return the driver's connection string."""
        from sqlalchemy.dialects.mssql.mssqlpython import MSDialect_mssqlpython

        (text,), _ = MSDialect_mssqlpython().create_connect_args(url)  # type: ignore[no-untyped-call]
        return str(text)

    async def has_table(self, connection: AsyncConnection, name: str) -> bool:
        """Look the table up in the default schema of the login."""
        return (
            await connection.scalar(sa.text("SELECT OBJECT_ID(:name)"), {"name": name}) is not None
        )

    async def opened_url(self, connection: AsyncConnection, url: sa.URL) -> sa.URL:
        """Return a URL with the name of the open database."""
        return url.set(database=await connection.scalar(sa.text("SELECT DB_NAME()")))

    async def held_locks(self, connection: AsyncConnection, seconds: float) -> list[Lock]:
        """Return nothing: only administrators see the locks of other sessions (VIEW SERVER STATE)."""
        del connection, seconds
        return []

    def require(self, connection: sa.Connection) -> None:
        """Require a version, rights on the tables, and READ_COMMITTED_SNAPSHOT: without it pages wait for transactions that change runs."""
        from .mssql_requirements import require

        require(connection)

    def require_ddl(self, connection: sa.Connection) -> None:
        """Ask the server for the user's rights on database and schema."""
        from .mssql_requirements import require_ddl

        require_ddl(connection)

    async def read_clock(self, connection: AsyncConnection) -> datetime | None:
        """Return the time of the server's clock."""
        now: datetime | None = await connection.scalar(sa.select(_CLOCK))
        return now

    def make_engine(self, url: sa.URL, pool_size: int | None = None) -> AsyncEngine:
        """Create a pool of connections with a thread for each."""
        kept, more = (5, 10) if pool_size is None else (pool_size, 0)
        return self._engine(url, kept + more, pool_size=kept, max_overflow=more, pool_use_lifo=True)

    def _engine(
        self, url: sa.URL, threads: int, *, lock_milliseconds: int | None = None, **options: Any
    ) -> AsyncEngine:
        from .mssql_driver import Threads

        pool = Threads(threads)
        engine = create_async_engine(
            self.url(url, is_async=True),
            connect_args={"threads": pool, "lock_milliseconds": lock_milliseconds},
            hide_parameters=True,
            **options,
        )
        self.set_up(engine.sync_engine)
        event.listen(engine.sync_engine, "engine_disposed", lambda _: pool.close())
        return engine

    def make_reading_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """Create a few connections; the reader stops a query at its limit, and no query waits for a lock for longer.

        SQL Server has no read-only transactions: what a query writes is rolled back when the reader returns the connection.
        """
        options = {"pool_size": 4, "max_overflow": 0, "pool_timeout": limit}
        return self._engine(url, 4, lock_milliseconds=int(limit * 1000), **options)

    make_looking_engine = make_reading_engine

    def make_loop_connections(self, url: sa.URL) -> None:
        """Return ``None``: the driver is not asynchronous."""
        del url

    def is_open(self, connection: AsyncConnection) -> bool:
        """Return whether the connection was not closed here; the next statement shows whether the server has closed it."""
        return not connection.closed and not connection.invalidated

    def set_up(self, engine: sa.Engine) -> None:
        """Compile T-SQL by the rules of this module."""
        engine.dialect.statement_compiler = TSQL
        if engine.dialect.is_async:
            return
        from .mssql_driver import roll_back

        engine.dialect.tuple_in_values = True  # this and the next: as of the async dialect
        engine.dialect.do_rollback = roll_back  # type: ignore[assignment, method-assign]

    def insert_ignore(self, table: sa.Table, keys: Sequence[sa.Column[Any]]) -> GuardedInsert:
        """Build ``INSERT … SELECT … WHERE NOT EXISTS``."""
        return guarded(table, keys)

    def upsert(
        self, table: sa.Table, keys: Sequence[sa.Column[Any]], values: Mapping[str, Any]
    ) -> GuardedInsert:
        """Build ``UPDATE``, then ``INSERT`` of a missing row."""
        names = {key.name for key in keys}
        changes = {name: "{new}" for name in values if name not in names}
        return guarded(table, keys, changes).values(dict(values))

    def insert_added(self, table: sa.Table, *, sums: Sequence[str], most: str) -> GuardedInsert:
        """Build ``UPDATE`` that adds up, then ``INSERT`` of a missing row."""
        larger = "CASE WHEN {new} > {old} THEN {new} ELSE {old} END"
        changes = dict.fromkeys(sums, "{old} + {new}") | {most: larger}
        return guarded(table, list(table.primary_key), changes)

    async def lock_job(self, connection: AsyncConnection, *job_names: str) -> None:
        """Take application locks until the transaction ends."""
        for name in job_names:
            await connection.execute(_LOCK, {"name": f"targcc/{name}"[:_LONGEST_RESOURCE]})

    async def lock_alerts(self, connection: AsyncConnection, job_name: str) -> None:
        """Take an application lock until the transaction ends."""
        await connection.execute(_LOCK, {"name": f"targcc alert {job_name}"[:_LONGEST_RESOURCE]})

    def try_lock_audit(self, connection: sa.Connection) -> bool:
        """Try to take an application lock until the transaction ends."""
        answer = connection.scalar(_TRY_LOCK, {"name": "targcc audit"})
        return answer is not None and answer >= 0

    async def try_lease(self, connection: AsyncConnection, name: str) -> bool:
        """Take an application lock for the session, unless the session has the lock."""
        mode, is_free = (await connection.execute(_HELD, {"name": name})).one()
        if mode == "Exclusive":
            return True
        if is_free:
            answer = await connection.scalar(_TRY_LEASE, {"name": name})
            return answer is not None and answer >= 0
        if await _is_babelfish(connection):  # a few refused locks in a session end its server
            await connection.invalidate()
        return False

    async def same_names(self, connection: AsyncConnection, names: Collection[str]) -> list[str]:
        """Group the names by the collation of the database."""
        listed = {"names": json.dumps(sorted(names), ensure_ascii=False)}
        return list(await connection.scalars(_SAME_NAMES, listed))

    async def hold_setting(self, connection: AsyncConnection, name: str) -> str | None:
        """Read the row with a shared lock; update it on Babelfish, which ignores hints of locks."""
        if not await _is_babelfish(connection):
            return await super().hold_setting(connection, name)
        value: str | None = await connection.scalar(_HOLD_SETTING, {"name": name})
        return value

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Take an application lock until the transaction ends."""
        connection.execute(_LOCK, {"name": "targcc migrations"})

    def analyze(self, engine: sa.Engine, tables: Sequence[str]) -> None:
        """Do nothing: the server updates its statistics itself."""

    async def insert_runs(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[sa.Row[int, str, datetime | None]]:
        """Insert rows by few statements; values that all rows share are a parameter each."""
        slots, new = set[tuple[Any, Any]](), list[Mapping[str, Any]]()
        for row in rows:
            slot = row["JobName"], row.get("ScheduledFor")
            if slot[1] is None or slot not in slots:
                new.append(row)
            slots.add(slot)
        alike = [name for name in rows[0] if len({row[name] for row in new}) == 1]
        apart = [name for name in rows[0] if name not in alike]
        most = max((MOST_PARAMETERS - len(alike)) // max(len(apart), 1), 1)
        ordered = not await _is_babelfish(connection)
        inserted: list[Any] = []
        for begin in range(0, len(new), min(most, _MOST_ROWS)):
            part = new[begin : begin + min(most, _MOST_ROWS)]
            values = {name: part[0][name] for name in alike}
            values |= {f"{name}_{n}": row[name] for n, row in enumerate(part) for name in apart}
            statement = _insert_runs(tuple(alike), tuple(apart), len(part), ordered=ordered)
            inserted += (await connection.execute(statement, values)).all()
        return sorted(inserted, key=lambda row: row[0])

    def among(self, column: sa.Column[Any], keys: Sequence[int]) -> sa.ColumnElement[bool]:
        """Compare with a list in JSON."""
        listed = sa.func.openjson(json.dumps(list(keys))).table_valued("value")
        return column.in_(sa.select(sa.cast(listed.c.value, sa.BigInteger)))

    def each_value(self, column: sa.Column[Any], *where: sa.ColumnElement[bool]) -> sa.CTE:
        """Look the next smaller value up by ``ROW_NUMBER``: the recursive part of a query may have no aggregate and no TOP."""
        largest = sa.select(sa.func.max(column).label("value")).where(*where)
        level = largest.cte("level", recursive=True)
        place = sa.func.row_number().over(order_by=column.desc()).label("place")
        joined = column.table.join(level, column < level.c.value)
        lower = sa.select(column.label("value"), place).select_from(joined).where(*where).subquery()
        return level.union_all(sa.select(lower.c.value).where(lower.c.place == 1))

    def newest_each(
        self,
        columns: Sequence[sa.Column[Any]],
        jobs: Sequence[str],
        each: int,
        where: Sequence[sa.ColumnElement[bool]],
    ) -> sa.Select[Any]:
        """Join a list in JSON."""
        job = sa.func.openjson(json.dumps(list(jobs))).table_valued("value", name="job")
        return base.newest_of_listed(columns, job, _name(job.c.value), each, where)

    def newest_states(
        self, jobs: Mapping[str, int], each: int, states: Sequence[str | None]
    ) -> sa.Select[Any]:
        """Aggregate the runs of each job in subqueries; the jobs are an object in JSON."""
        job = sa.func.openjson(json.dumps(dict(jobs))).table_valued(
            sa.column("key", sa.Unicode), sa.column("value", sa.Unicode), name="job"
        )
        name, bound = _name(job.c.key), sa.cast(job.c.value, sa.BigInteger)
        lists = (
            sa.select(_json_list(runs))
            for runs in base.newest_in_states(name, bound, each, states, source=job)
        )
        return sa.select(job.c.key, *(listed.scalar_subquery() for listed in lists))


async def _is_babelfish(connection: AsyncConnection) -> bool:
    """Return whether the server is Babelfish for PostgreSQL; asks once for each engine.

    Babelfish ignores the hints of locks, and refuses ORDER BY in an insert with OUTPUT.
    """
    dialect: Any = connection.dialect
    if not hasattr(dialect, "targcc_babelfish"):
        version = await connection.scalar(sa.text("SELECT SERVERPROPERTY('BabelfishVersion')"))
        dialect.targcc_babelfish = version is not None
    return bool(dialect.targcc_babelfish)


def _name(text: Any) -> sa.ColumnElement[str]:
    """Return a text of JSON with the type of a job's name, so that an index finds the runs."""
    return sa.cast(text, job_run.c.JobName.type)


def _json_list(runs: sa.Subquery) -> sa.ColumnElement[str]:
    """Return a JSON list of ``[Id, State, At]``."""
    c = runs.c
    row = sa.func.concat(
        "[",
        c.Id,
        ',"',
        c.State,
        '","',
        sa.func.convert(sa.literal_column("nvarchar(33)"), c.At, sa.literal_column("126")),
        '+00:00"]',
    )
    joined = sa.func.string_agg(sa.cast(row, sa.UnicodeText), ",")
    return sa.func.concat("[", joined, "]", type_=sa.UnicodeText)


@lru_cache(maxsize=64)
def _insert_runs(
    alike: tuple[str, ...], apart: tuple[str, ...], count: int, *, ordered: bool
) -> sa.TextualSelect:
    """Build the statement that inserts runs; with an order, the server assigns the identities in that order.

    Args:
        alike: Columns with the same value in all rows.
        apart: The other columns.
        count: The number of rows.
        ordered: Whether to order the rows.
    """
    c, types = job_run.c, MSDialect()  # type: ignore[no-untyped-call]
    names = [*alike, *apart]
    kinds = {name: c[name].type.dialect_impl(types).compile(dialect=types) for name in apart}
    rows = ", ".join(
        f"({', '.join([str(n), *(f'CAST(:{name}_{n} AS {kinds[name]})' for name in apart)])})"
        for n in range(count)
    )
    source = {**{name: f":{name}" for name in alike}, **{name: f"given.{name}" for name in apart}}
    slot = f"present.JobName = {source['JobName']} AND present.ScheduledFor = {source.get('ScheduledFor', 'NULL')}"
    binds = [sa.bindparam(name, type_=c[name].type) for name in alike]
    binds += [
        sa.bindparam(f"{name}_{n}", type_=c[name].type) for n in range(count) for name in apart
    ]
    return (
        sa.text(
            f"INSERT INTO c_JobRun ({', '.join(names)}) OUTPUT inserted.Id, inserted.JobName, inserted.ScheduledFor"  # noqa: S608 - columns of ours
            f" SELECT {', '.join(source[name] for name in names)} FROM (VALUES {rows}) AS given ({', '.join(['ordinal', *apart])})"
            f" WHERE NOT EXISTS (SELECT 1 FROM c_JobRun AS present WITH (UPDLOCK, HOLDLOCK) WHERE {slot})"
            f"{' ORDER BY given.ordinal' if ordered else ''}"
        )
        .bindparams(*binds)
        .columns(c.Id, c.JobName, c.ScheduledFor)
    )


DIALECT: Dialect = MSSQLDialect()
