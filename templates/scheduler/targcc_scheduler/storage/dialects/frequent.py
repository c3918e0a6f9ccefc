"""Statements that are executed for each run, or each few seconds. The driver itself executes them: SQLAlchemy's part takes several times as long as the driver's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

if TYPE_CHECKING:  # there is no need of the one dialect on the other database
    from .drivers.psycopg_driver import PsycopgStatement
    from .drivers.sqlite_driver import SQLiteStatement


class FrequentStatement:
    """A statement whose text and conversions are made once for each database; on a plain connection, or one by another driver, SQLAlchemy executes it.

    Args:
        statement: Its parameters are the same each time; none of them is expanded.
    """

    def __init__(self, statement: sa.Executable) -> None:
        self._statement = statement

    async def all(
        self, connection: AsyncConnection, parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """Execute it; its rows, with their columns by name."""
        if isinstance(connection, AsyncConnection):
            if connection.dialect.name == "sqlite":
                return await self._on_sqlite.rows(connection, parameters)
            if connection.dialect.driver == "psycopg":
                return await self._on_psycopg.rows(connection, parameters)
        return (await connection.execute(self._statement, dict(parameters))).all()

    async def counts(
        self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]
    ) -> list[int]:
        """Execute it for each set of parameters and return how many rows each changed.

        Raises:
            TypeError: the statement is an ``INSERT``, whose rows not every driver counts.
        """
        if isinstance(self._statement, sa.Insert):
            raise TypeError("an INSERT has no row count: execute it with run()")
        return await self._counts(connection, many)

    async def run(self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]) -> None:
        """Execute it for each set of parameters."""
        await self._counts(connection, many)

    async def _counts(
        self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]
    ) -> list[int]:
        if isinstance(connection, AsyncConnection):
            if connection.dialect.name == "sqlite":
                return await self._on_sqlite.counts(connection, many)
            if connection.dialect.driver == "psycopg":
                return await self._on_psycopg.counts(connection, many)
        return [(await connection.execute(self._statement, dict(one))).rowcount for one in many]

    @cached_property
    def _on_sqlite(self) -> SQLiteStatement:
        from .drivers.sqlite_driver import SQLiteStatement

        return SQLiteStatement(self._statement)

    @cached_property
    def _on_psycopg(self) -> PsycopgStatement:
        from .drivers.psycopg_driver import PsycopgStatement

        return PsycopgStatement(self._statement)
