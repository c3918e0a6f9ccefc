"""PostgreSQL: many writers, and an answer to wait for after each statement."""

from __future__ import annotations

import json
import select
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import quoted_name

from ..runs.transition import SETTLE
from ..tables import logged_job
from .base import Insert

LOCK_KEY = 0x7461726763
"""The advisory lock that migrations hold ("targc")."""

_PATIENCE = {"connect_timeout": 10, "tcp_user_timeout": 20_000}
"""How long PostgreSQL may say nothing: seconds while connecting, milliseconds later. The system's own default is many minutes."""

_HISTORY = ", ".join(str(column.name) for column in logged_job.c if not column.primary_key)
_SETTLE = sa.text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS given (
            run_id bigint, source text, server_id text, attempt integer, state text, message text,
            completed_at timestamptz, last_server_id text, due_at timestamptz,
            not_counted integer, lost integer, cancelled_by text,
            done float8, total float8, line text, history json
        )
    ), settled AS (
        {SETTLE.format(given="given.", source="FROM given")}
        RETURNING given.run_id, given.attempt
    ), logged AS (
        INSERT INTO c_LoggedJob ({_HISTORY})
        SELECT {_HISTORY}
        FROM (
            SELECT (json_populate_record(NULL::c_LoggedJob, given.history)).*
            FROM given JOIN settled USING (run_id, attempt)
            WHERE given.history IS NOT NULL
            ORDER BY run_id
        ) AS attempts
    )
    SELECT run_id, attempt FROM settled
    """).bindparams(sa.bindparam("rows", type_=sa.Text))  # noqa: S608 - constants of this package


class PostgreSQLDialect:
    """See :class:`~.base.Dialect`."""

    name = "postgresql"
    commits_cost = True
    version_table = quoted_name("c_alembicversion", quote=False)

    def folded(self, name: str) -> str:
        """PostgreSQL makes unquoted names lower-case."""
        return name.lower()

    def url(self, url: sa.URL, *, is_async: bool) -> sa.URL:
        """Psycopg 3, which is both."""
        del is_async
        return url.set(drivername="postgresql+psycopg")

    def make_engine(self, url: sa.URL) -> AsyncEngine:
        """A pool that notices connections which the server has closed."""
        options = {name: value for name, value in _PATIENCE.items() if name not in url.query}
        engine = create_async_engine(
            self.url(url, is_async=True), pool_size=5, max_overflow=10, connect_args=options
        )
        event.listen(engine.sync_engine, "checkout", _on_checkout)
        return engine

    def make_inline_engine(self, url: sa.URL) -> None:
        """There is always a server to wait for."""
        del url

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

    async def lock_job(self, connection: AsyncConnection, job_name: str) -> None:
        """An advisory lock until the transaction ends."""
        key = sa.func.hashtextextended(f"targcc/{job_name}", 0)
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

    async def lock_alerts(self, connection: AsyncConnection, job_name: str) -> None:
        """An advisory lock until the transaction ends."""
        key = sa.func.hashtext(f"alert {job_name}")
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

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

    async def settle_batch(
        self,
        connection: AsyncConnection,
        rows: Sequence[Mapping[str, Any]],
        histories: Sequence[Mapping[str, Any] | None],
    ) -> frozenset[tuple[int, int]]:
        """Settle many runs in one statement: every statement is a round trip."""
        given = [
            {**row, "history": None if history is None else _folded(history)}
            for row, history in zip(rows, histories, strict=True)
        ]
        text = json.dumps(given, default=_instant)
        return frozenset(map(tuple, await connection.execute(_SETTLE, {"rows": text})))


def _folded(history: Mapping[str, Any]) -> dict[str, Any]:
    """With the names that PostgreSQL makes of ours."""
    return {name.lower(): value for name, value in history.items()}


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written")


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
