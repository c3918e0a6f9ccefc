"""What differs between databases, in one value each: :class:`Dialect`. ``known.py`` says which one a connection or a URL has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert as PostgreSQLInsert
from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import quoted_name

Insert = PostgreSQLInsert | SQLiteInsert
"""An insert that knows what to do about a row that is there already."""

WRITES = {"targcc_writes": True}
"""Execution options of a connection that is going to write: on SQLite its transaction takes the write lock at once."""


class Dialect(Protocol):
    """One kind of database.

    Attributes:
        name: What SQLAlchemy calls it.
        commits_cost: Whether each statement is a round trip to another process, so that one that commits by itself saves two.
        version_table: The name of ``c_AlembicVersion``, never quoted, as the database itself writes it.
    """

    name: str
    commits_cost: bool
    version_table: quoted_name

    def folded(self, name: str) -> str:
        """An unquoted name as the database keeps it; for looking whether a table is there."""

    def url(self, url: sa.URL, *, is_async: bool) -> sa.URL:
        """The URL with the driver that the scheduler uses."""

    def make_engine(self, url: sa.URL) -> AsyncEngine:
        """An engine for the scheduler's and its pages' queries."""

    def make_inline_engine(self, url: sa.URL) -> AsyncEngine | None:
        """An engine for short transactions on the event loop itself; ``None`` where there is no such thing."""

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

    async def lock_job(self, connection: AsyncConnection, job_name: str) -> None:
        """Let one transaction at a time decide about a job's limit."""

    async def lock_alerts(self, connection: AsyncConnection, job_name: str) -> None:
        """Let one transaction at a time count a job's alerts."""

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Let one process at a time change the tables."""

    def analyze(self, engine: sa.Engine, tables: Sequence[str]) -> None:
        """Have the planner look at new tables."""

    def committed_before(self, column: sa.Column[Any], instant: Any) -> sa.ColumnElement[bool]:
        """For readers that follow growing ids: leave out rows whose neighbours with smaller ids may not be committed yet."""

    async def settle_batch(
        self,
        connection: AsyncConnection,
        rows: Sequence[Mapping[str, Any]],
        histories: Sequence[Mapping[str, Any] | None],
    ) -> frozenset[tuple[int, int]]:
        """Write outcomes with their history; returns the runs and attempts that were as their settlement expects.

        Args:
            connection: A transaction, or a connection that commits by itself.
            rows: The parameters of :data:`..runs.transition.SETTLE` for each settlement.
            histories: For each, its row of ``c_LoggedJob``, if it has one.
        """
