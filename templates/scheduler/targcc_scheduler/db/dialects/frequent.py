"""Statements executed for each run: compiled once by SQLAlchemy, executed by the driver; and row counts that are the same on every database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from . import known

if TYPE_CHECKING:
    from .psycopg_driver import LoopConnections, PsycopgStatement
    from .sqlite_driver import QuickConnection, SQLiteStatement


# Statements executed for each run, or every few seconds: SQLAlchemy takes several times as long for an execution as the driver.


class FrequentStatement:
    """A statement whose text and conversions are computed once for each database.

    On a sync connection, or with another driver, SQLAlchemy executes the statement.

    Args:
        statement: The statement. Its parameters are the same for each execution, and no parameter is expanding.
    """

    def __init__(self, statement: sa.Executable) -> None:
        self._statement = statement

    async def all(
        self, connection: AsyncConnection, parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """Execute the statement and return its rows as named tuples."""
        if isinstance(connection, AsyncConnection):
            if connection.dialect.name == "sqlite":
                return await self._on_sqlite.rows(connection, parameters)
            if connection.dialect.driver == "psycopg":
                return await self._on_psycopg.rows(connection, parameters)
        return (await connection.execute(self._statement, dict(parameters))).all()

    async def planned_once(
        self, connection: AsyncConnection, parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """Execute as :meth:`all` does, on PostgreSQL by a plan that is kept. For large statements, whose planning takes longer than their execution.

        Each part of the statement has to find its rows by an index, with any values of the parameters.
        """
        if isinstance(connection, AsyncConnection) and connection.dialect.driver == "psycopg":
            return await self._on_psycopg.rows_planned_once(connection, parameters)
        return await self.all(connection, parameters)

    def at_once(
        self, connection: QuickConnection, parameters: Mapping[str, Any]
    ) -> Sequence[Any] | None:
        """Execute the statement in a transaction of its own and return its rows as named tuples; ``None`` if that is not possible now."""
        return connection.rows(self._on_sqlite, parameters)

    async def on_this_loop(
        self, connections: LoopConnections, parameters: Mapping[str, Any]
    ) -> Sequence[Any] | None:
        """Execute the statement on the connection of the calling loop and return its rows; ``None`` if the loop has no free connection."""
        return await connections.rows(self._on_psycopg, parameters)

    async def counts(
        self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]
    ) -> list[int]:
        """Execute the statement for each set of parameters and return the number of changed rows of each.

        Raises:
            TypeError: The statement is an ``INSERT``; not every driver counts its rows.
        """
        if isinstance(self._statement, sa.Insert):
            raise TypeError("an INSERT has no row count: execute it with run()")
        return await self.run(connection, many)

    async def run(
        self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]
    ) -> list[int]:
        """Execute the statement for each set of parameters and return what the driver counts; see :meth:`counts`."""
        if isinstance(connection, AsyncConnection):
            if connection.dialect.name == "sqlite":
                return await self._on_sqlite.counts(connection, many)
            if connection.dialect.driver == "psycopg":
                return await self._on_psycopg.counts(connection, many)
        return [
            (await connection.execute(self._statement, dict(parameters))).rowcount
            for parameters in many
        ]

    @cached_property
    def _on_sqlite(self) -> SQLiteStatement:
        from .sqlite_driver import SQLiteStatement

        return SQLiteStatement(self._statement)

    @cached_property
    def _on_psycopg(self) -> PsycopgStatement:
        from .psycopg_driver import PsycopgStatement

        return PsycopgStatement(self._statement)


# Lists of values as a single parameter each: the text of a statement stays the same, so that databases and drivers keep the statement prepared.


class ListOf(TypeDecorator[Iterable[Any]]):
    """A list as a single value: an array on PostgreSQL, JSON on SQLite and SQL Server.

    Args:
        item: The type of the items.
    """

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: type[TypeEngine[Any]]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """Return the type of the parameter for a database."""
        kind: TypeEngine[Any] = sa.ARRAY(self.item) if dialect.name == "postgresql" else sa.Text()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Iterable[Any] | None, dialect: sa.Dialect) -> Any:
        """Convert the list for the database."""
        listed = list(value or ())
        return listed if dialect.name == "postgresql" else json.dumps(listed)


class is_among(FunctionElement[Any]):  # noqa: N801 - it is used like a function
    """The condition that a column is among the values of a parameter: ``is_among(column, listed("ids", sa.BigInteger))``."""

    type = (
        sa.types.NullType()
    )  # with Boolean, SQLAlchemy would compare the result with 1 on SQLite, and no index would be used
    inherit_cache = True


def listed(name: str, item: type[TypeEngine[Any]]) -> sa.BindParameter[Any]:
    """Create a parameter that is a list."""
    return sa.bindparam(name, type_=ListOf(item))


@compiles(is_among, "postgresql")
def _as_array(element: is_among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({column} = ANY ({values}))"


@compiles(is_among, "sqlite")
def _as_json(element: is_among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({column} IN (SELECT value FROM json_each({values})))"  # noqa: S608 - a column and a parameter


class is_in_list(FunctionElement[Any]):  # noqa: N801 - it is used like a function
    """The condition that a column is among the results of a scalar subquery: ``is_in_list(column, subquery)``.

    PostgreSQL executes the subquery once, before the search for rows. In another form, PostgreSQL may execute a subquery with ``FOR
    UPDATE`` again for each row that the rest of the statement finds.
    """

    type = sa.types.NullType()
    inherit_cache = True


@compiles(is_in_list, "postgresql")
def _in_array(element: is_in_list, compiler: Any, **options: Any) -> str:
    column, rows = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({column} = ANY (ARRAY{rows}))"


@compiles(is_in_list, "mssql", "sqlite")
def _in_rows(element: is_in_list, compiler: Any, **options: Any) -> str:
    column, rows = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({column} IN {rows})"


# Count the rows that a statement changes, and detect whether an insert added its row: the same on every database.
#
# SQLAlchemy returns -1 for the row count of an ``INSERT`` on PostgreSQL. Therefore only this module reads row counts, of ``UPDATE`` and
# ``DELETE``; an insert returns the key of its row.

Change: TypeAlias = sa.Update | sa.Delete


async def changed(
    connection: AsyncConnection, change: Change, parameters: Mapping[str, Any] | None = None
) -> int:
    """Execute an ``UPDATE`` or ``DELETE`` and return the number of its rows."""
    return (await connection.execute(change, parameters)).rowcount


async def remove_some(
    connection: AsyncConnection, table: sa.Table, *where: sa.ColumnElement[bool], most: int
) -> int:
    """Delete up to ``most`` rows that satisfy ``where``, and return their number."""
    key = list(table.primary_key)
    is_one = sa.tuple_(*key).in_(sa.select(*key).where(*where).limit(most))
    return await changed(connection, sa.delete(table).where(is_one))


def changed_by(connection: sa.Connection, change: Change) -> int:
    """Execute an ``UPDATE`` or ``DELETE`` on a sync connection and return the number of its rows."""
    return connection.execute(change).rowcount


async def insert_new(
    connection: AsyncConnection,
    table: sa.Table,
    keys: Sequence[sa.Column[Any]],
    row: Mapping[str, Any],
) -> bool:
    """Insert a row unless a row with its keys exists.

    Returns:
        Whether the row is new.
    """
    insert = known.of(connection).insert_ignore(table, keys).values(dict(row))
    return (await connection.execute(insert.returning(*keys))).first() is not None
