"""What differs between databases, in one value each: :class:`Dialect`. ``known.py`` says which one a connection or a URL has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import quoted_name

from ...features.search.index import TextIndex
from ...kernel.runs.values import Ending, Tied

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = "postgresql.Insert | sqlite.Insert"
"""An insert that knows what to do about a row that is there already."""

SUMS, MOST = ("Count", "Retried", "SumMs"), "MaxMs"
"""The columns of ``c_JobStat`` that are added, and that of which the largest value stays."""


def added(statement: Insert, sums: Sequence[str], most: str) -> dict[str, sa.ColumnElement[Any]]:
    """What becomes of a row that is there already; see :meth:`Dialect.insert_added`."""
    old, new = statement.table.c, statement.excluded
    larger = sa.case((new[most] > old[most], new[most]), else_=old[most])
    return {name: old[name] + new[name] for name in sums} | {most: larger}


WRITES = {"targcc_writes": True}
"""Execution options of a connection that is going to write: on SQLite its transaction takes the write lock at once."""


class Dialect(Protocol):
    """One kind of database.

    Attributes:
        name: What SQLAlchemy calls it.
        commits_cost: Whether each statement is a round trip to another process, so that one that commits by itself saves two.
        many_writers: Whether transactions that write other rows go on at the same time.
        wait_briefly: Lets no statement of a transaction wait long for what others hold: it fails instead (see ``core.outage.is_held_up``);
            ``None`` where nothing is waited for, as a transaction that writes is alone.
        wait_on: Lets the statements that follow in the transaction wait as before.
        version_table: The name of ``c_AlembicVersion``, without quotes, as the database itself writes it.
        speak_for_sql: How a keepalive process beats for its node; see ``keepalive.py``.
        running_sql: How it finds which runs that node has.
        texts: How it keeps the index of runs' texts.
        clock: Its clock, in a statement; NULL where it is this machine's.
    """

    name: str
    commits_cost: bool
    many_writers: bool
    wait_briefly: sa.TextClause | None
    wait_on: sa.TextClause | None
    version_table: quoted_name
    speak_for_sql: str
    running_sql: str
    texts: TextIndex
    clock: sa.ColumnElement[Any]

    def folded(self, name: str) -> str:
        """An unquoted name as the database keeps it; for looking whether a table is there."""

    def url(self, url: sa.URL, *, is_async: bool) -> sa.URL:
        """The URL with the driver that the scheduler uses."""

    def file(self, url: sa.URL) -> Path | None:
        """The file that is the database; ``None`` for one that a server keeps."""

    def plain_address(self, url: sa.URL) -> str:
        """What the driver itself, without SQLAlchemy, connects to; with the password."""

    async def read_clock(self, connection: AsyncConnection) -> datetime | None:
        """The database's clock; ``None`` where it is this machine's."""

    def make_engine(self, url: sa.URL, pool_size: int | None = None) -> AsyncEngine:
        """An engine for the scheduler's own queries."""

    def make_reading_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """An engine with a few connections that cannot write, for questions that may take ``limit`` seconds."""

    def make_looking_engine(self, url: sa.URL, limit: float) -> AsyncEngine:
        """As :meth:`make_reading_engine`, for a look at a database that may be unwell: it waits no longer than ``limit`` to connect."""

    async def stop_query(self, connection: AsyncConnection, asking: asyncio.Future[Any]) -> None:
        """End the statement that a connection executes; returns once ``asking``, which waits for it, is done."""

    def make_inline_engine(self, url: sa.URL) -> AsyncEngine | None:
        """An engine for short transactions on the event loop itself; ``None`` where there is no such thing."""

    def is_open(self, connection: AsyncConnection) -> bool:
        """Whether the database has not closed a connection; costs a system call at most."""

    def set_up(self, engine: sa.Engine) -> None:
        """Make the connections of a plain engine what the scheduler expects."""

    async def begin_write(self, connection: AsyncConnection) -> None:
        """Begin a transaction that writes, without holding the event loop up while another process writes."""

    def insert_ignore(self, table: sa.Table, keys: Sequence[sa.Column[Any]]) -> Insert:
        """An insert that leaves a row with the same keys as it is."""

    def upsert(
        self, table: sa.Table, keys: Sequence[sa.Column[Any]], values: Mapping[str, Any]
    ) -> Insert:
        """An insert of ``values`` that changes the row with the same keys, if there is one."""

    def insert_added(self, table: sa.Table, *, sums: Sequence[str], most: str) -> Insert:
        """An insert that adds the numbers of a row with the same key to those that are there.

        Args:
            table: The table.
            sums: The columns that are added.
            most: The column of which the larger value stays.
        """

    async def lock_job(self, connection: AsyncConnection, job_name: str) -> None:
        """Let one transaction at a time decide about a job's limit."""

    async def lock_alerts(self, connection: AsyncConnection, job_name: str) -> None:
        """Let one transaction at a time count a job's alerts."""

    def try_lock_audit(self, connection: sa.Connection) -> bool:
        """Let one transaction at a time add to the chain of the audit, without waiting: whether it is this one."""

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Let one process at a time change the tables."""

    def analyze(self, engine: sa.Engine, tables: Sequence[str]) -> None:
        """Have the planner look at new tables."""

    def committed_before(self, column: sa.Column[Any], instant: Any) -> sa.ColumnElement[bool]:
        """For readers that follow growing ids: leave out rows whose neighbours with smaller ids may not be committed yet."""

    async def insert_runs(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[sa.Row[int, str, datetime | None]]:
        """Insert rows of ``c_JobRun`` with the same columns; a slot that has a run already keeps that one.

        Returns:
            Id, job and slot of each row that is new, in the order of ``rows``.
        """

    def among(self, column: sa.Column[Any], keys: Sequence[int]) -> sa.ColumnElement[bool]:
        """That a column is one of many numbers, which go to the database as one value: the statement is built once."""

    async def give_back(self, connection: AsyncConnection, pages: int) -> bool:
        """Return up to so many unused pages of the database to the system, in a transaction. Whether there may be more."""

    async def kept_bytes(self, connection: AsyncConnection) -> int:
        """How much of the database's file is unused and cannot be given back, because of how the file was made."""

    async def settle_batch(
        self,
        connection: AsyncConnection,
        rows: Sequence[Mapping[str, Any]],
        histories: Sequence[Mapping[str, Any] | None],
        endings: Sequence[Ending | None],
    ) -> dict[tuple[int, int], Tied]:
        """Write outcomes with their history and count them, and keep others from the keys of their limits; returns what hangs on the runs, by run and attempt, that were as their settlement expects.

        Args:
            connection: A transaction, or a connection that commits by itself.
            rows: The parameters of :data:`..runs.transition.SETTLE` for each settlement.
            histories: For each, its row of ``c_LoggedJob``, if it has one.
            endings: For each, what the statistics count, if they do.
        """
