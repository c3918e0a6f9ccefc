"""PostgreSQL: many writers, and one round trip a statement."""

from __future__ import annotations

import asyncio
import json
import select
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import quoted_name

from ...features.search.index import TextIndex
from ...features.search.postgresql import PostgreSQLTexts
from ...kernel.runs.transition import SETTLE
from ...kernel.runs.values import NO_LIMIT, Ending, Tie, Tied, shard_of_process
from ..columns import UtcDateTime
from ..tables import job_run, logged_job
from . import keepalive
from .base import Dialect, Insert, added
from .frequent import FrequentStatement

# PostgreSQL: the statements by which runs get the states of their settlements, each of many runs at once, as every statement is a round trip.

_HISTORY = ", ".join(str(column.name) for column in logged_job.c if not column.primary_key)
_GIVEN_IDS = "ARRAY(SELECT run_id FROM given)"


def _held(runs: str) -> str:
    """Locks the keys of the limits of runs, in one order; whoever waits for one of them, and has said so before, is seen, as a row is read as it is once it is locked."""
    return f"""held AS MATERIALIZED (
        SELECT LimitKey, IsAwaited FROM c_JobLimit
        WHERE LimitKey = ANY (ARRAY(
            SELECT LimitKey FROM {runs} WHERE Ties & {int(Tie.LIMITED)} <> 0 AND LimitKey IS NOT NULL
        ))
        ORDER BY LimitKey
        FOR UPDATE
    )"""  # noqa: S608 - constants of this package


_AFTER = f", {_held('settled')}"
_BEFORE = f"""
    ending AS MATERIALIZED (
        SELECT Id, Ties, LimitKey FROM c_JobRun WHERE Id = ANY ({_GIVEN_IDS}) ORDER BY Id FOR UPDATE
    ), {_held("ending")},
"""  # noqa: S608 - constants of this package
_FREE_IDS = f"""ARRAY(
    SELECT Id FROM ending LEFT JOIN held USING (LimitKey)
    WHERE IsAwaited IS FALSE OR LimitKey IS NULL OR Ties & {int(Tie.LIMITED)} = 0
)"""  # noqa: S608 - constants of this package


def _settle(before: str = "", ids: str = _GIVEN_IDS, after: str = "") -> FrequentStatement:
    """A statement that settles runs: those with these ``ids``, and what is looked at ``before`` and ``after``."""
    # Of a key that is newer than the statement, as where a job is renamed meanwhile, it says nothing.
    found = "IsAwaited FROM settled LEFT JOIN held USING (LimitKey)"
    found = found if after else "false FROM settled"
    statement = sa.text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS given (
            run_id bigint, source text, server_id text, attempt integer, state text, message text,
            completed_at timestamptz, last_server_id text, due_at timestamptz,
            not_counted integer, lost integer, cancelled_by text,
            done float8, total float8, line text, cause text, history json,
            job_name text, begins_at timestamptz, outcome text, bucket integer, shard integer,
            retried integer, milliseconds bigint, barred integer
        )
    ), {before} settled AS (
        {SETTLE.format(given="given.", source="FROM given")}
        AND c_JobRun.Id = ANY ({ids}) -- by key, however small the table is
        RETURNING given.run_id, given.attempt, c_JobRun.Ties, c_JobRun.LimitKey
    ), logged AS (
        INSERT INTO c_LoggedJob ({_HISTORY})
        SELECT {_HISTORY}
        FROM (
            SELECT (json_populate_record(NULL::c_LoggedJob, given.history)).*
            FROM given JOIN settled USING (run_id, attempt)
            WHERE given.history IS NOT NULL
            ORDER BY run_id
        ) AS attempts
    ), counted AS (
        INSERT INTO c_JobStat
            (JobName, BeginsAt, Outcome, Bucket, Shard, Count, Retried, SumMs, MaxMs)
        SELECT job_name, begins_at, outcome, bucket, coalesce(shard, -pg_backend_pid()),
            count(*), sum(retried), sum(milliseconds), max(milliseconds)
        FROM given JOIN settled USING (run_id, attempt)
        WHERE given.outcome IS NOT NULL
        GROUP BY 1, 2, 3, 4, 5
        ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (JobName, BeginsAt, Outcome, Bucket, Shard) DO UPDATE SET
            Count = c_JobStat.Count + excluded.Count,
            Retried = c_JobStat.Retried + excluded.Retried,
            SumMs = c_JobStat.SumMs + excluded.SumMs,
            MaxMs = greatest(c_JobStat.MaxMs, excluded.MaxMs)
    )
    {after}
    SELECT run_id, attempt, Ties, LimitKey, {found}
    """)  # noqa: S608 - constants of this package
    return FrequentStatement(
        statement.bindparams(sa.bindparam("rows", type_=sa.Text)).columns(
            *(sa.column(name, sa.BigInteger) for name in ("run_id", "attempt", "ties")),
            sa.column("limit_key", sa.Text),
            sa.column("is_awaited", sa.Boolean),
        )
    )


_SETTLE, _SETTLE_TIED = _settle(), _settle(after=_AFTER)
_SETTLE_FREE = _settle(before=_BEFORE, ids=_FREE_IDS)
"""Leaves out runs for the key of whose limit somebody waits."""


def settling_statement(barred: Collection[int]) -> FrequentStatement:
    """The statement for settlements that bar these ties."""
    if 0 in barred:
        return _SETTLE_TIED
    return _SETTLE_FREE if NO_LIMIT in barred else _SETTLE


# PostgreSQL: many writers, and an answer to wait for after each statement.

LOCK_KEY = 0x7461726763
"""The advisory lock that migrations hold ("targc")."""

_PATIENCE = {"connect_timeout": 10, "tcp_user_timeout": 20_000}
"""How long PostgreSQL may say nothing: seconds while connecting, milliseconds later. The system's own default is many minutes."""

_CLOCK = sa.func.clock_timestamp(type_=UtcDateTime())
"""The server's clock, not that of the transaction's begin."""
_READ_CLOCK = FrequentStatement(sa.select(_CLOCK.label("now")))
_CANCEL_SECONDS = 10.0
_READ_ONLY = sa.text(
    "SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', :limit, true), "
    "set_config('plan_cache_mode', 'force_custom_plan', true)"
)
"""Each question is planned for what it asks: a plan for any search would read all runs for a word that most of them hold."""
_LONGEST_SILENCE = "5s"
"""How long a transaction may stand still between two statements. One of a process that is frozen, or of a machine that is cut off, holds its
locks until then, and all others wait.
"""
_PAGE_COST = "1.1"
"""What a page is said to cost that an index leads to, beside one of a table that is read through. The runs that wait are in memory; with the server's default of 4, which is for
disks that turn, keys of limits were not looked up but all read at each claim as long as they were few hundred.
"""


@cache
def _insert_runs(columns: tuple[str, ...]) -> sa.TextualSelect:
    names = ", ".join(columns)
    return (
        sa.text(f"""
            INSERT INTO c_JobRun ({names})
            SELECT {names}
            FROM ROWS FROM (json_populate_recordset(
                json_populate_record(NULL::c_JobRun, CAST(:alike AS json)), CAST(:rows AS json)
            )) WITH ORDINALITY AS given
            ORDER BY ordinality
            ON CONFLICT (JobName, ScheduledFor) DO NOTHING
            RETURNING Id, JobName, ScheduledFor
            """)  # noqa: S608 - columns of ours
        .bindparams(sa.bindparam("alike", type_=sa.Text), sa.bindparam("rows", type_=sa.Text))
        .columns(job_run.c.Id, job_run.c.JobName, job_run.c.ScheduledFor)
    )


class PostgreSQLDialect:
    """See :class:`~.base.Dialect`."""

    name = "postgresql"
    commits_cost = True
    many_writers = True
    wait_briefly: sa.TextClause | None = sa.text("SET LOCAL lock_timeout = '100ms'")
    wait_on: sa.TextClause | None = sa.text("SET LOCAL lock_timeout = DEFAULT")
    clock: sa.ColumnElement[Any] = _CLOCK
    version_table = quoted_name("c_alembicversion", quote=False)
    speak_for_sql = keepalive.speak_for(
        "%({})s",
        now="clock_timestamp()",
        since="clock_timestamp() - make_interval(secs => %(seconds)s)",
    )
    running_sql = keepalive.running("%({})s")
    texts: TextIndex = PostgreSQLTexts()

    def folded(self, name: str) -> str:
        """PostgreSQL makes unquoted names lower-case."""
        return name.lower()

    def file(self, url: sa.URL) -> None:
        """A server keeps it."""
        del url

    def plain_address(self, url: sa.URL) -> str:
        """The URL as libpq takes it."""
        return url.set(drivername="postgresql").render_as_string(hide_password=False)

    async def read_clock(self, connection: AsyncConnection) -> datetime | None:
        """The server's clock."""
        (found,) = await _READ_CLOCK.all(connection, {})
        now: datetime = found.now
        return now

    def url(self, url: sa.URL, *, is_async: bool) -> sa.URL:
        """Psycopg 3, which is both; engines that are not async have their patience here."""
        found = url.set(drivername="postgresql+psycopg")
        if is_async or "connect_timeout" in url.query:
            return found
        return found.update_query_dict({"connect_timeout": str(_PATIENCE["connect_timeout"])})

    def make_engine(self, url: sa.URL, pool_size: int | None = None) -> AsyncEngine:
        """A pool that notices connections which the server has closed; the one that is handed out has its statements prepared."""
        kept, more = (5, 10) if pool_size is None else (pool_size, 0)
        return self._engine(url, pool_size=kept, max_overflow=more, pool_use_lifo=True)

    def _engine(
        self, url: sa.URL, patience: Mapping[str, int] = _PATIENCE, **options: Any
    ) -> AsyncEngine:
        patience = {name: value for name, value in patience.items() if name not in url.query}
        engine = create_async_engine(
            self.url(url, is_async=True), connect_args=patience, hide_parameters=True, **options
        )
        event.listen(engine.sync_engine, "connect", _on_connect)
        event.listen(engine.sync_engine, "checkout", _on_checkout)
        return engine

    def make_reading_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """Its transactions are read-only and have a time limit on the server; said in each, since a pooler may stand in between."""
        return self._reading_engine(url, limit, _PATIENCE)

    def make_looking_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """The same, with less patience; libpq waits two seconds at least."""
        return self._reading_engine(url, limit, _PATIENCE | {"connect_timeout": max(2, int(limit))})

    def _reading_engine(
        self, url: sa.URL, limit: float, patience: Mapping[str, int]
    ) -> AsyncEngine:
        engine = self._engine(url, patience, pool_size=4, max_overflow=0, pool_timeout=limit)
        milliseconds = str(int(limit * 1000) + 1000)  # after the reader's own limit

        def begin(connection: sa.Connection) -> None:
            connection.execute(_READ_ONLY, {"limit": milliseconds})

        event.listen(engine.sync_engine, "begin", begin)
        return engine

    async def stop_query(self, connection: AsyncConnection, asking: asyncio.Future[Any]) -> None:
        """Cancel the task: psycopg cancels its query on the server."""
        del connection
        asking.cancel()
        await asyncio.wait({asking}, timeout=_CANCEL_SECONDS)

    def make_inline_engine(self, url: sa.URL) -> None:
        """None: there is a server to wait for."""
        del url

    def is_open(self, connection: AsyncConnection) -> bool:
        """Whether the server has said nothing, as it does when it closes one."""
        from .psycopg_driver import driver_of

        return not _is_readable(driver_of(connection))

    def set_up(self, engine: sa.Engine) -> None:
        """Connections are as they should be."""

    async def begin_write(self, connection: AsyncConnection) -> None:
        """A transaction like any other."""
        await connection.begin()

    def insert_ignore(self, table: sa.Table, keys: Sequence[sa.Column[Any]]) -> Insert:
        """``ON CONFLICT DO NOTHING``."""
        return insert(table).on_conflict_do_nothing(index_elements=list(keys))

    def upsert(
        self, table: sa.Table, keys: Sequence[sa.Column[Any]], values: Mapping[str, Any]
    ) -> Insert:
        """``ON CONFLICT DO UPDATE``."""
        statement = insert(table).values(dict(values))
        return statement.on_conflict_do_update(index_elements=list(keys), set_=dict(values))

    def insert_added(self, table: sa.Table, *, sums: Sequence[str], most: str) -> Insert:
        """``ON CONFLICT DO UPDATE``."""
        statement = insert(table)
        return statement.on_conflict_do_update(
            index_elements=list(table.primary_key), set_=added(statement, sums, most)
        )

    async def lock_job(self, connection: AsyncConnection, job_name: str) -> None:
        """An advisory lock until the transaction ends."""
        key = sa.func.hashtextextended(f"targcc/{job_name}", 0)
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

    async def lock_alerts(self, connection: AsyncConnection, job_name: str) -> None:
        """An advisory lock until the transaction ends."""
        key = sa.func.hashtext(f"alert {job_name}")
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

    def try_lock_audit(self, connection: sa.Connection) -> bool:
        """An advisory lock until the transaction ends."""
        lock = sa.func.pg_try_advisory_xact_lock(sa.func.hashtext("targcc audit"))
        return bool(connection.scalar(sa.select(lock)))

    def lock_migrations(self, connection: sa.Connection) -> None:
        """An advisory lock until the transaction ends."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))

    def analyze(self, engine: sa.Engine, tables: Sequence[str]) -> None:
        """A plan that was made for empty tables is kept far too long."""
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f"ANALYZE {', '.join(tables)}"))

    def committed_before(self, column: sa.Column[Any], instant: Any) -> sa.ColumnElement[bool]:
        """Ids are given out before their transactions commit, in any order."""
        before: sa.ColumnElement[bool] = column <= instant
        return before

    async def insert_runs(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[sa.Row[int, str, datetime | None]]:
        """Two parameters instead of thousands: psycopg reads a statement with many for longer than PostgreSQL executes it."""
        texts = [json.dumps(one, default=_instant) for one in _apart(rows)]
        given = dict(zip(("alike", "rows"), texts, strict=True))
        found = (await connection.execute(_insert_runs(tuple(rows[0])), given)).all()
        return sorted(found, key=lambda row: row[0])  # ids are given out in the order of the rows

    def among(self, column: sa.Column[Any], keys: Sequence[int]) -> sa.ColumnElement[bool]:
        """An array."""
        return column == sa.any_(sa.literal(list(keys), ARRAY(sa.BigInteger)))

    async def give_back(self, connection: AsyncConnection, pages: int) -> bool:
        """Autovacuum does it."""
        del connection, pages
        return False

    async def kept_bytes(self, connection: AsyncConnection) -> int:
        """Its space is used again."""
        del connection
        return 0

    async def settle_batch(
        self,
        connection: AsyncConnection,
        rows: Sequence[Mapping[str, Any]],
        histories: Sequence[Mapping[str, Any] | None],
        endings: Sequence[Ending | None],
    ) -> dict[tuple[int, int], Tied]:
        """Settle many runs in one statement: every statement is a round trip."""
        given = [
            {
                **row,
                "history": None if history is None else _folded(history),
                **_counted(row, ending),
            }
            for row, history, ending in zip(rows, histories, endings, strict=True)
        ]
        text = json.dumps(given, default=_instant)
        barred = {row["barred"] for row in rows}
        statement = settling_statement(barred)
        found = await statement.all(connection, {"rows": text})
        return {(run_id, attempt): Tied(*tied) for run_id, attempt, *tied in found}


DIALECT: Dialect = PostgreSQLDialect()


def _counted(row: Mapping[str, Any], ending: Ending | None) -> dict[str, Any]:
    """What the statistics count of a run.

    One that belongs to no node may be cancelled in a long transaction of an application: it has the shard of its connection, which nobody
    else uses meanwhile.
    """
    if ending is None:
        return {}
    return {
        "job_name": ending.job,
        "begins_at": ending.begins_at,
        "outcome": ending.outcome,
        "bucket": ending.bucket,
        "shard": None if row["server_id"] is None else shard_of_process(),
        "retried": int(ending.retried),
        "milliseconds": ending.duration_ms or 0,
    }


def _apart(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What all rows have in common, which is most of them where they are of one call; and of each row the rest."""
    first = rows[0]
    alike = {name for name in first if len({row[name] for row in rows}) == 1}
    others = [(name, name.lower()) for name in first if name not in alike]
    common = _folded({name: first[name] for name in alike})
    return common, [{folded: row[name] for name, folded in others} for row in rows]


def _folded(history: Mapping[str, Any]) -> dict[str, Any]:
    """With the names that PostgreSQL makes of ours."""
    return {name.lower(): value for name, value in history.items()}


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written")


def _on_connect(connection: Any, _record: Any) -> None:
    """Let the server end a transaction that stands still, and plan for rows that are in memory; said by a statement, since poolers refuse what is said while connecting."""
    cursor = connection.cursor()
    cursor.execute(
        f"SELECT set_config('idle_in_transaction_session_timeout', '{_LONGEST_SILENCE}', false),"
        f" set_config('random_page_cost', least(current_setting('random_page_cost')::float8, {_PAGE_COST})::text, false)"
    )
    cursor.close()
    connection.commit()


def _on_checkout(connection: Any, _record: Any, _proxy: Any) -> None:
    """Give nobody a connection that the server has closed."""
    if _is_readable(connection.driver_connection):
        raise InvalidatePoolError("PostgreSQL has closed the connection")


def _is_readable(driver: Any) -> bool:
    """Whether there is something to read on a connection, or it is closed; looking costs a system call, where ``pool_pre_ping`` costs a round trip for each transaction."""
    if driver.closed:
        return True
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(driver.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([driver.fileno()], [], [], 0)[0])
