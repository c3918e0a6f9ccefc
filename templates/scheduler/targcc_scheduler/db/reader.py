"""The reader: run read-only queries for people, limited in time and to the rows that the caller may see.

A user with a role for some jobs sees the rows of these jobs. The user's queries are compiled so that each table, anywhere in a statement,
is read through a subquery with the visible rows alone. Counts, searches and joins of a page therefore cover only these rows. A table
without a rule has no visible rows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.compiler import SQLCompiler

from ..core.actor import Actor, ActorKind, Visibility, visibility
from ..core.errors import QueryTimeout
from ..core.loop_thread import LoopOnDemand
from .dialects import known

# Visible rows: narrow the statements of a caller who may see some jobs.

_BY_JOB = "JobName IN ({jobs})"
_BY_RUN = "RunId IN (SELECT Id FROM c_JobRun WHERE JobName IN ({jobs}))"
_ALL = "1 = 1"
NOTHING = "1 = 0"

RULES = {
    "c_LoggedJob": _BY_JOB,
    "c_JobAlert": _BY_JOB,
    "c_JobAlertThread": _BY_JOB,
    "c_JobRun": _BY_JOB,
    "c_JobSchedule": _BY_JOB,
    "c_JobStat": _BY_JOB,
    "c_JobAudit": _BY_JOB,
    "c_JobFailure": _BY_JOB,
    "c_JobOverride": _BY_JOB,
    "c_JobOwner": _BY_JOB,
    "c_JobShadow": _BY_JOB,
    "c_JobLogLine": _BY_RUN,
    "c_JobStep": _BY_RUN,
    "c_JobTextDue": _BY_RUN,
    "c_JobBulkRun": _BY_RUN,
    "c_JobBlob": _BY_RUN,
    "c_JobLink": "ChildId IN (SELECT Id FROM c_JobRun WHERE JobName IN ({jobs}))",
    "c_JobUnique": _BY_JOB,
    "c_JobLimit": _BY_JOB,
    "c_JobConcern": "Subject IN ({jobs})",
    "c_JobBulk": "Actor IN ({actors})",
    "c_JobView": "Person = {person}",
    "c_JobSession": "UserName = {person}",
    "c_JobUser": "Name = {person}",
    "c_JobQueue": _ALL,
    "c_JobMaintenance": _ALL,
    "c_JobServer": _ALL,
    "c_JobRelease": _ALL,
    "c_JobBatch": NOTHING,
    "c_JobIdempotency": NOTHING,
    "c_JobToken": NOTHING,
    "c_JobRole": NOTHING,
    "c_JobRequest": NOTHING,
    "c_JobNotice": NOTHING,
    "c_JobWebhook": NOTHING,
    "c_JobDelivery": NOTHING,
    "c_JobSetting": "Name = 'unindexed runs'",
}
"""The condition of the visible rows, by table."""

_AS_IT_IS = frozenset({"c_JobText"})
"""The text index: queries join it with ``c_JobRun`` and read no text from it. SQLite's ``MATCH`` needs the table itself."""
_CATALOGUES = frozenset({"sqlite_master", "pragma_module_list", "pg_class"})
"""The tables that a textual statement may read."""
_SOURCE = re.compile(r"\b(?:from|join)\s+([\w.]+)", re.IGNORECASE)

_HIDDEN = {
    "c_JobServer": frozenset({"StuckIn"}),  # may show the code of a job that is not visible
    "c_JobUser": frozenset({"PasswordHash"}),
}
"""The columns that read as NULL, by table."""


def narrow(dialect: sa.Dialect) -> None:
    """Make a dialect compile queries with the rows that :data:`~..core.actor.visibility` allows at compile time.

    Compiled statements must not be cached for later queries.
    """

    class Narrowing(dialect.statement_compiler):  # type: ignore[misc, name-defined]  # the database's own compiler
        def visit_table(self, table: Any, *, asfrom: bool = False, **options: Any) -> str:
            text: str = super().visit_table(table, asfrom=asfrom, **options)
            if not asfrom or str(table.name) in _AS_IT_IS:
                return text
            enclosing = options.get("enclosing_alias")
            rows = f"({_rows(self, table)})"
            if enclosing is not None and enclosing.element is table:
                return rows
            return f"{rows} AS {self.preparer.quote(table.name)}"

        def visit_textclause(self, textclause: Any, **options: Any) -> str:
            if not self.stack and not _CATALOGUES.issuperset(_SOURCE.findall(textclause.text)):
                raise PermissionError(f"nobody knows which jobs this is about: {textclause.text}")
            text: str = super().visit_textclause(textclause, **options)
            return text

    dialect.statement_compiler = Narrowing


def _rows(compiler: SQLCompiler, table: sa.Table) -> str:
    allowed = visibility.get()
    assert allowed is not None

    def listed(texts: Iterable[str]) -> str:
        literals = [compiler.render_literal_value(text, sa.Unicode()) for text in sorted(texts)]
        return ", ".join(literals) or "NULL"

    actors = (str(Actor(kind, allowed.person)) for kind in (ActorKind.MANUAL, ActorKind.API))
    job_column = table.info.get("job")  # of a feature's table
    of_feature = f"{job_column} IN ({{jobs}})" if job_column else NOTHING
    rule = RULES.get(str(table.name), of_feature).format(
        jobs=listed(allowed.seen),
        person=listed([allowed.person]),
        actors=listed(actors),
    )
    hidden = _HIDDEN.get(str(table.name), frozenset())
    columns = [
        f"NULL AS {column.name}" if column.name in hidden else str(column.name)
        for column in table.columns
    ]
    return f"SELECT {', '.join(columns)} FROM {table.name} WHERE {rule}"  # noqa: S608 - the texts in it are literals of the database's


# Queries for people, on a separate event loop with separate read-only connections, within a time limit.
#
# A slow query does not block the scheduler's event loop, connections or write lock, so heartbeats continue.

T = TypeVar("T")


class Reader:
    """Run read-only queries on a database; callable from any event loop, for several queries at the same time.

    Args:
        url: The database URL.
        limit: The time limit for a query, in seconds.
        looks_on: Leave the database's settings unchanged, and give up soon if the database cannot be reached.
    """

    def __init__(self, url: str, *, limit: float, looks_on: bool = False) -> None:
        self._url = sa.make_url(url)
        self._dialect = known.for_url(self._url)
        self._limit = limit
        self._make = (
            self._dialect.make_looking_engine if looks_on else self._dialect.make_reading_engine
        )
        self._loop = LoopOnDemand("targcc reads")
        self._engine: AsyncEngine | None = None
        self._narrowing: AsyncEngine | None = None
        self._asked: set[asyncio.Task[object]] = set()
        self._ending: set[asyncio.Task[object]] = set()

    async def read(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``query`` and return its result, limited to rows that the caller may see. Cancelling the call ends the query in the database.

        Raises:
            QueryTimeout: The query exceeded the time limit, or no connection became free in time.
            sqlalchemy.exc.DBAPIError: The database does not answer, or the query tried to write.
        """
        return await self._loop.open().call(self._read(query, visibility.get()))

    async def close(self) -> None:
        """Cancel running queries, close all connections and stop the event loop; a later query starts the loop again."""
        await self._loop.stop(self._dispose)

    async def _dispose(self) -> None:
        for task in self._asked - self._ending:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        engines = self._engine, self._narrowing
        self._engine = self._narrowing = None
        for engine in engines:
            if engine is not None:
                await engine.dispose()

    async def _read(
        self, query: Callable[[AsyncConnection], Awaitable[T]], allowed: Visibility | None
    ) -> T:
        engine = self._engine_for(allowed)
        task = asyncio.current_task()
        assert task is not None
        self._asked.add(task)
        seen = visibility.set(allowed)
        try:
            async with engine.connect() as connection:
                if allowed is not None:
                    await connection.execution_options(compiled_cache=None)
                answer = await self._within_limit(task, connection, query)
                if not connection.invalidated:
                    await connection.commit()  # after a rollback Psycopg forgets its prepared statements
                return answer
        except sa.exc.TimeoutError as error:  # no connection became free
            raise QueryTimeout(f"other questions take longer than {self._limit:g} s") from error
        finally:
            visibility.reset(seen)
            self._asked.discard(task)
            self._ending.discard(task)

    def _engine_for(self, allowed: Visibility | None) -> AsyncEngine:
        """Return the engine for a query; a caller with limited visibility gets a separate engine, which narrows every statement."""
        if allowed is None:
            if self._engine is None:
                self._engine = self._make(self._url, self._limit)
            return self._engine
        if self._narrowing is None:
            self._narrowing = self._make(self._url, self._limit)
            narrow(self._narrowing.sync_engine.dialect)
        return self._narrowing

    async def _within_limit(
        self,
        task: asyncio.Task[object],
        connection: AsyncConnection,
        query: Callable[[AsyncConnection], Awaitable[T]],
    ) -> T:
        asking = asyncio.ensure_future(query(connection))
        try:
            await asyncio.wait({asking}, timeout=self._limit)
        finally:
            in_time = asking.done()
            if not in_time:
                self._ending.add(task)
                await self._dialect.stop_query(connection, asking)
                await asyncio.gather(asking, return_exceptions=True)  # it was interrupted
        if not in_time:
            raise QueryTimeout(f"the question took longer than {self._limit:g} s")
        return asking.result()
