"""The interface to the differences between databases: :class:`Dialect`. ``known.py`` selects the dialect of a connection or a URL."""

from __future__ import annotations

import asyncio
from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import quoted_name

from ..tables import job_run, job_setting
from .text_index import TextIndex

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

    from .lock import Lock
    from .psycopg_driver import LoopConnections
    from .sqlite_driver import QuickConnection
    from .tsql import GuardedInsert


ConflictInsert: TypeAlias = "postgresql.Insert | sqlite.Insert"
"""An insert with a conflict clause for an existing row."""
Insert: TypeAlias = "postgresql.Insert | sqlite.Insert | GuardedInsert"
"""An insert that handles an existing row."""

SUMS, MOST = ("Count", "Retried", "SumMs"), "MaxMs"
"""The columns of ``c_JobStat`` that an upsert adds up, and the column whose maximum it keeps."""
WRITES = {"targcc_writes": True}
"""Execution options of a writing connection: on SQLite its transaction takes the write lock at once."""


@dataclass(frozen=True, slots=True)
class Savepoint:
    """Statements of a savepoint.

    Args:
        set: Sets the savepoint.
        undo: Undoes the writes since the savepoint and keeps the savepoint.
        release: Removes the savepoint and keeps the writes; ``None`` where savepoints end with the transaction.
    """

    set: sa.TextClause
    undo: sa.TextClause
    release: sa.TextClause | None


SAVEPOINT = Savepoint(
    *(
        sa.text(f"{what} c_Savepoint")
        for what in ("SAVEPOINT", "ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT")
    )
)
"""The statements of the SQL standard."""


class Dialect(Protocol):
    """A kind of database.

    Attributes:
        name: SQLAlchemy's name of the dialect.
        most_rows: Limit of the rows that a transaction of the maintenance changes.
        commits_cost: Whether each statement is a round trip to another process, so that an autocommit statement saves two.
        many_writers: Whether transactions that write different rows run concurrently.
        wait_briefly: Limits the lock waits of the transaction's statements: a statement that waits longer fails (see ``core.outage.is_held_up``);
            ``None`` where no lock waits occur, because a write transaction runs alone.
        wait_on: Restores the normal lock waits for the following statements of the transaction.
        savepoint: The statements of a savepoint within a transaction.
        version_table: The name of ``c_AlembicVersion``, without quotes, as the database itself spells it.
        speak_for_sql: The statement with which a keepalive process beats for its node; see :func:`speak_for`.
        running_sql: The statement that lists the node's running runs.
        texts: The index of runs' texts on this database.
        clock: The database's clock as an SQL expression; NULL where the machine's clock counts.
        has_queue: Whether an engine with a queue of its own, Procrastinate, works in the database; otherwise the rows of runs are the queue.
        has_lease: Whether one node at a time runs jobs, named by a lease; see :meth:`try_lease`.
        locks_readers: Whether another session can lock a table for readers too.
        keepalive_driver: The module of the driver with which a keepalive process connects.
        index_names: A query for the names of the usable indexes.
        notes_ended_runs: Whether triggers note ended runs in ``c_JobTextDue``.
        changes_in_ctes: Whether a part of a statement (a CTE) can change rows, so that a single statement settles many runs.
        returns_queries: Whether a ``RETURNING`` can hold a query.
        concatenates: The operator between two texts.
        names_constraints: Whether the index of a unique constraint has the name of the constraint.
    """

    name: str
    most_rows: int
    commits_cost: bool
    many_writers: bool
    wait_briefly: sa.TextClause | None
    wait_on: sa.TextClause | None
    savepoint: Savepoint
    version_table: quoted_name
    speak_for_sql: str
    running_sql: str
    texts: TextIndex
    clock: sa.ColumnElement[Any]
    has_queue: bool
    has_lease: bool
    locks_readers: bool
    keepalive_driver: str
    index_names: sa.TextClause
    names_constraints: bool
    notes_ended_runs: bool
    changes_in_ctes: bool
    returns_queries: bool
    concatenates: str

    def folded(self, name: str) -> str:
        """Return an unquoted name as the database stores it, to check whether a table exists."""

    def url(self, url: sa.URL, *, is_async: bool) -> sa.URL:
        """Return the URL with the driver that the scheduler uses."""

    def file(self, url: sa.URL) -> Path | None:
        """Return the database file; ``None`` for a database on a server."""

    def plain_address(self, url: sa.URL) -> str:
        """Return the address, with the password, for the driver without SQLAlchemy."""

    def require(self, connection: sa.Connection) -> None:
        """Check the server, the options of the database and the user's rights on existing tables.

        Raises:
            DatabaseUnfit: The server is too old, or an option is off; the message has the statement for the administrator.
            RightsMissing: The user lacks rights; the message has the statement that grants them.
        """

    def require_ddl(self, connection: sa.Connection) -> None:
        """Check that the user may create and change tables.

        Raises:
            RightsMissing: The user may not; the message has the statement that grants the rights.
        """

    async def has_table(self, connection: AsyncConnection, name: str) -> bool:
        """Return whether a table exists, by a statement that does not fail in an application's transaction."""

    async def opened_url(self, connection: AsyncConnection, url: sa.URL) -> sa.URL:
        """Complete the URL of a connection that SQLAlchemy did not open, as the driver or the database tells."""

    async def held_locks(self, connection: AsyncConnection, seconds: float) -> list[Lock]:
        """Return the locks that other sessions or processes have held for ``seconds``, the oldest first. Reads no table of the scheduler."""

    async def read_clock(self, connection: AsyncConnection) -> datetime | None:
        """Return the time of the database's clock; ``None`` where the machine's clock counts."""

    def make_engine(self, url: sa.URL, pool_size: int | None = None) -> AsyncEngine:
        """Create an engine for the scheduler's own queries."""

    def make_reading_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """Create an engine with a few read-only connections, for queries that may take ``limit`` seconds."""

    def make_looking_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """Create an engine like :meth:`make_reading_engine`, to inspect a possibly broken database.

        Connecting takes no longer than ``limit`` seconds.
        """

    async def stop_query(self, connection: AsyncConnection, asking: asyncio.Future[Any]) -> None:
        """Stop the statement that a connection executes; return once ``asking``, the task that awaits the statement, is done."""

    def make_inline_engine(self, url: sa.URL) -> AsyncEngine | None:
        """Create an engine for short transactions on the event loop itself; ``None`` where the database does not allow it."""

    def make_quick_connection(self, url: sa.URL) -> QuickConnection | None:
        """Create a connection for :meth:`insert_run_at_once`; ``None`` where a statement needs waiting."""

    def make_loop_connections(self, url: sa.URL) -> LoopConnections | None:
        """Create the connections of event loops of the application; ``None`` where waiting costs nothing."""

    def insert_run_at_once(self, connection: QuickConnection, row: Mapping[str, Any]) -> int | None:
        """Insert a run without a slot, in a transaction of its own and in the calling thread.

        Returns:
            The run's id; ``None`` if nothing was inserted, because another writer is at work.
        """

    def is_open(self, connection: AsyncConnection) -> bool:
        """Return whether a connection is still open on the database's side; costs at most a system call."""

    def set_up(self, engine: sa.Engine) -> None:
        """Configure the connections of a sync engine for the scheduler."""

    async def begin_write(self, connection: AsyncConnection) -> None:
        """Begin a write transaction, without blocking the event loop while another process writes."""

    async def lock_writes(self, connection: AsyncConnection) -> None:
        """Make the caller's transaction one that can write, before the transaction reads."""

    def insert_ignore(self, table: sa.Table, keys: Sequence[sa.Column[Any]]) -> Insert:
        """Build an insert that leaves an existing row with the same keys unchanged."""

    def upsert(
        self, table: sa.Table, keys: Sequence[sa.Column[Any]], values: Mapping[str, Any]
    ) -> Insert:
        """Build an insert of ``values`` that updates an existing row with the same keys."""

    def insert_added(self, table: sa.Table, *, sums: Sequence[str], most: str) -> Insert:
        """Build an insert that adds its numbers to an existing row with the same primary key.

        Args:
            table: The table.
            sums: The columns to add up.
            most: The column whose larger value is kept.
        """

    async def lock_job(self, connection: AsyncConnection, *job_names: str) -> None:
        """Serialise the transactions that decide about the limit of a job; lock jobs in the order of ``job_names``."""

    async def lock_alerts(self, connection: AsyncConnection, job_name: str) -> None:
        """Serialise the transactions that count a job's alerts."""

    def try_lock_audit(self, connection: sa.Connection) -> bool:
        """Try to lock the audit chain for additions, without waiting; return whether this transaction has the lock."""

    async def try_lease(self, connection: AsyncConnection, name: str) -> bool:
        """Lock a name for the session of a connection, without waiting; return whether the session has the lock, also from an earlier call."""

    async def same_names(self, connection: AsyncConnection, names: Collection[str]) -> list[str]:
        """Return the groups of names that the database takes for the same name, such as those that differ in case alone, each as a text."""

    async def hold_setting(self, connection: AsyncConnection, name: str) -> str | None:
        """Read a row of ``c_JobSetting``, and keep the row from being changed until the transaction ends; other transactions can hold it too."""

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Lock the schema, so that a single process at a time changes the tables."""

    def analyze(self, engine: sa.Engine, tables: Sequence[str]) -> None:
        """Update the planner's statistics of new tables."""

    def committed_before(self, column: sa.Column[Any], instant: Any) -> sa.ColumnElement[bool]:
        """Build a condition for readers that follow ascending ids: exclude rows while a smaller id may still be uncommitted."""

    async def insert_runs(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[sa.Row[int, str, datetime | None]]:
        """Insert rows of ``c_JobRun`` with the same columns; a slot with an existing run keeps that run.

        Returns:
            Id, job and slot of each new row, in the order of ``rows``.
        """

    async def keep_ids(self, connection: AsyncConnection) -> None:
        """Keep the ids of runs from being given again; call before runs are deleted."""

    def among(self, column: sa.Column[Any], keys: Sequence[int]) -> sa.ColumnElement[bool]:
        """Build the condition that a column is among many numbers.

        The numbers are sent as a single parameter, so that the statement is compiled once.
        """

    def each_value(self, column: sa.Column[Any], *where: sa.ColumnElement[bool]) -> sa.CTE:
        """Build a list, ``value``, of the distinct values of an indexed column and at most one NULL, with a lookup in the index for each value."""

    def newest_each(
        self,
        columns: Sequence[sa.Column[Any]],
        jobs: Sequence[str],
        each: int,
        where: Sequence[sa.ColumnElement[bool]],
    ) -> sa.Select[Any]:
        """Select columns of the newest ``each`` runs of each job that meet conditions on ``c_JobRun``.

        The jobs are a single parameter, so that a statement for a thousand jobs is compiled once. An index finds the runs of each job.
        """

    def newest_states(
        self, jobs: Mapping[str, int], each: int, states: Sequence[str | None]
    ) -> sa.Select[Any]:
        """Select a row for each job: the name, then a JSON list of ``[Id, State, At]`` for each of ``states``.

        A list has the newest ``each`` runs in a state, or in any state for ``None``, in no order. ``At`` is the end of a run, else its
        start, else its due time. A row for each run would take several times as long.

        Args:
            jobs: The jobs, each with a number that is greater than the ids of its selected runs.
            each: Limit of runs in a list.
            states: The states.
        """

    async def give_back(self, connection: AsyncConnection, pages: int) -> bool:
        """Return up to ``pages`` unused pages of the database to the system, in a transaction; return whether more may be left."""

    async def kept_bytes(self, connection: AsyncConnection) -> int:
        """Return the bytes of the database file that are unused and cannot be returned, because of the way in which the file was created."""


class CommonMethods:
    """Methods of a database without leases, where names differ by each character; a dialect overrides those that differ on its database."""

    def require(self, connection: sa.Connection) -> None:
        """Do nothing: the scheduler needs no option of the database."""

    def require_ddl(self, connection: sa.Connection) -> None:
        """Do nothing: the error of the migration names the missing right."""

    async def try_lease(self, connection: AsyncConnection, name: str) -> bool:
        """Return true: every node is active."""
        del connection, name
        return True

    async def same_names(self, connection: AsyncConnection, names: Collection[str]) -> list[str]:
        """Return nothing: names differ by each character."""
        del connection, names
        return []

    async def hold_setting(self, connection: AsyncConnection, name: str) -> str | None:
        """Read the row with a shared lock."""
        c = job_setting.c
        value: str | None = await connection.scalar(
            sa.select(c.Value).where(c.Name == name).with_for_update(read=True)
        )
        return value

    def each_value(self, column: sa.Column[Any], *where: sa.ColumnElement[bool]) -> sa.CTE:
        """Look the next smaller value up, by a recursive query, until there is none."""
        largest = sa.select(sa.func.max(column).label("value")).where(*where)
        level = largest.cte("level", recursive=True)
        lower = sa.select(sa.func.max(column)).where(*where, column < level.c.value)
        return level.union_all(
            sa.select(lower.correlate(level).scalar_subquery()).where(level.c.value.is_not(None))
        )


class ConflictInserts:
    """Inserts of a database with ``ON CONFLICT``.

    Attributes:
        conflict_insert: The class of an insert that can have the clause.
    """

    conflict_insert: ClassVar[type[ConflictInsert]]

    def insert_ignore(self, table: sa.Table, keys: Sequence[sa.Column[Any]]) -> Insert:
        """Build ``INSERT … ON CONFLICT DO NOTHING``."""
        return self.conflict_insert(table).on_conflict_do_nothing(index_elements=list(keys))

    def upsert(
        self, table: sa.Table, keys: Sequence[sa.Column[Any]], values: Mapping[str, Any]
    ) -> Insert:
        """Build ``INSERT … ON CONFLICT DO UPDATE``."""
        statement = self.conflict_insert(table).values(dict(values))
        return statement.on_conflict_do_update(index_elements=list(keys), set_=dict(values))

    def insert_added(self, table: sa.Table, *, sums: Sequence[str], most: str) -> Insert:
        """Build ``INSERT … ON CONFLICT DO UPDATE`` that adds up."""
        statement = self.conflict_insert(table)
        old, new = table.c, statement.excluded
        larger = sa.case((new[most] > old[most], new[most]), else_=old[most])
        return statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={name: old[name] + new[name] for name in sums} | {most: larger},
        )


_CANCEL_SECONDS = 10.0
"""Longest wait for the end of a query that was cancelled."""


class ServerMethods(CommonMethods):
    """Methods of a database server: statements wait for the server, and many transactions write at once."""

    def file(self, url: sa.URL) -> None:
        """Return ``None``: the database is on a server."""
        del url

    async def stop_query(self, connection: AsyncConnection, asking: asyncio.Future[Any]) -> None:
        """Cancel the task; the driver then cancels the query on the server."""
        del connection
        asking.cancel()
        await asyncio.wait({asking}, timeout=_CANCEL_SECONDS)

    def make_inline_engine(self, url: sa.URL) -> None:
        """Return ``None``: a server needs waiting."""
        del url

    def make_quick_connection(self, url: sa.URL) -> None:
        """Return ``None``: a server needs waiting."""
        del url

    def insert_run_at_once(self, connection: Any, row: Mapping[str, Any]) -> None:
        """Return ``None``; see :meth:`make_quick_connection`."""
        del connection, row

    async def begin_write(self, connection: AsyncConnection) -> None:
        """Begin a normal transaction."""
        await connection.begin()

    async def lock_writes(self, connection: AsyncConnection) -> None:
        """Do nothing: any transaction can write."""

    def committed_before(self, column: sa.Column[Any], instant: Any) -> sa.ColumnElement[bool]:
        """Compare with the instant, because ids are assigned before their transactions commit, in any order."""
        before: sa.ColumnElement[bool] = column <= instant
        return before

    async def keep_ids(self, connection: AsyncConnection) -> None:
        """Do nothing: the server gives each id once."""

    async def give_back(self, connection: AsyncConnection, pages: int) -> bool:
        """Return false: the server reuses its pages."""
        del connection, pages
        return False

    async def kept_bytes(self, connection: AsyncConnection) -> int:
        """Return 0: the server reuses its space."""
        del connection
        return 0


@cache
def _newest_run() -> sa.FromClause:
    """Return an alias of the runs, built once: it has all columns."""
    return job_run.alias("newest")


def newest_of_listed(
    columns: Sequence[sa.Column[Any]],
    job: sa.FromClause,
    name: sa.ColumnElement[str],
    each: int,
    where: Sequence[sa.ColumnElement[bool]],
) -> sa.Select[Any]:
    """Join a list of jobs with the ids from a correlated subquery; see :meth:`Dialect.newest_each`.

    Args:
        columns: The columns of a run.
        job: The list as a table.
        name: The job's name in the list.
        each: Limit of runs of a job.
        where: Conditions on ``c_JobRun``.
    """
    c, newest = job_run.c, _newest_run()
    ids = sa.select(c.Id).where(c.JobName == name, *where)
    ids = ids.order_by(c.Id.desc()).limit(each).correlate(job)
    both = job.join(newest, newest.c.Id.in_(ids))
    return sa.select(*(newest.c[column.name] for column in columns)).select_from(both)


def newest_in_states(
    job: sa.ColumnElement[Any],
    bound: sa.ColumnElement[Any],
    each: int,
    states: Sequence[str | None],
    source: sa.FromClause | None = None,
) -> Iterator[sa.Subquery]:
    """Yield a subquery for each state: ``Id``, ``State`` and ``At`` of a job's newest runs; see :meth:`Dialect.newest_states`.

    Args:
        job: The job's name, from the enclosing statement.
        bound: A number that is greater than the ids, from the enclosing statement.
        each: Limit of runs.
        states: The states; ``None`` for any state.
        source: The table of the job in the enclosing statement; default: that of ``job``.
    """
    c = job_run.c
    for state in states:
        where = [c.JobName == job, c.Id < bound, *([] if state is None else [c.State == state])]
        at = sa.func.coalesce(c.CompletedAt, c.StartedAt, c.DueAt).label("At")
        newest = sa.select(c.Id, c.State, at).where(*where).order_by(c.Id.desc()).limit(each)
        yield newest.correlate(job.table if source is None else source).subquery()


# A statement that the database's driver executes directly, see ``frequent.py``; SQLAlchemy compiles the statement once.

Convert = Callable[[Any], Any]


class DriverStatement:
    """The compiled text and the type conversions of a statement.

    Args:
        statement: The statement to compile.
        dialect: The database's dialect, with the parameter style of the driver.
    """

    def __init__(self, statement: Any, dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.text = str(compiled)
        self.names: Sequence[str] = compiled.positiontup or ()
        """The names of the parameters in the order of the text, where the text refers to parameters by number."""
        self._fixed: dict[str, Any] = compiled.params
        self._given = {
            name: convert
            for bind, name in compiled.bind_names.items()
            if (convert := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        }
        columns = () if isinstance(statement, sa.TextClause) else statement.exported_columns
        names = [column.key for column in columns]
        self._row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024 - known only here
        self._found = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        ]

    def values(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Convert parameters to the driver's types."""
        values = {**self._fixed, **parameters}
        for name, convert in self._given.items():
            values[name] = convert(values[name])
        return values

    def named(self, parameters: Iterable[Iterable[Any]]) -> list[Any]:
        """Convert the driver's rows to named tuples of Python types."""
        return [self._row._make(map(_converted, self._found, row)) for row in parameters]


def _converted(convert: Convert | None, value: Any) -> Any:
    return value if convert is None else convert(value)


# SQL texts for a keepalive process, which has a driver and no SQLAlchemy.


def speak_for(given: str, *, now: str, since: str) -> str:
    """Return the SQL that beats for a stuck node and records since when and where the node is stuck.

    Args:
        given: The driver's form of a parameter, such as ``:{}``; the parameters are ``id``, ``seconds`` and ``where``.
        now: The SQL expression of the current instant.
        since: The SQL expression of the instant ``seconds`` ago.
    """
    return (
        f"UPDATE c_JobServer SET HeartbeatAt = {now}, StuckSince = coalesce(StuckSince, {since}),"  # noqa: S608
        f" StuckIn = {given.format('where')} WHERE Id = {given.format('id')}"
    )


def running(given: str) -> str:
    """Return the SQL that lists up to ten running runs of a node."""
    return (
        "SELECT Id, JobName FROM c_JobRun WHERE State = 'running'"  # noqa: S608
        f" AND ServerId = {given.format('id')} ORDER BY Id LIMIT 10"
    )
