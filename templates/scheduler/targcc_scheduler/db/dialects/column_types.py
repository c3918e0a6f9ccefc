"""Column types and SQL functions whose form differs between databases; ``db/columns.py`` offers them to the tables and to the queries.

The types work without the dialect's module, because SQL scripts exist for more databases than the scheduler works on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

_FILTERED = frozenset({"sqlite", "postgresql", "mssql"})
"""The databases with indexes of a part of the rows."""
_EQUAL_NULLS = frozenset({"mssql"})
"""The databases whose unique indexes treat NULLs as equal."""


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware in Python, UTC in the database, refused when naive."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column type for a database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        if dialect.name == "mssql":
            from sqlalchemy.dialects import mssql

            return dialect.type_descriptor(mssql.DATETIME2(6))  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert an aware instant to UTC for the database.

        Raises:
            ValueError: The instant is naive.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"an instant needs a time zone: {value!r}")
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def result_processor(
        self, dialect: Dialect, coltype: object  # noqa: ARG002 - SQLAlchemy names it
    ) -> Callable[[Any], datetime | None]:
        """Return the function that converts a result of the driver to an aware instant in UTC; a page converts thousands."""
        return _instant_of_text if dialect.name == "sqlite" else _instant


def _instant_of_text(text: str | None) -> datetime | None:
    """Parse SQLite's text with its zone: a tenth of the time of parsing the text and replacing the zone."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(f"{text}+00:00")
    except ValueError:  # another program wrote a zone
        return _instant(datetime.fromisoformat(text))


def _instant(value: datetime | None) -> datetime | None:
    if value is None or value.tzinfo is UTC:
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class LongText(TypeDecorator[str]):
    """Text of any length."""

    impl = sa.UnicodeText
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column type for a database; SQL Server's ``NTEXT`` is deprecated."""
        if dialect.name == "mssql":
            from sqlalchemy.dialects import mssql

            return dialect.type_descriptor(mssql.NVARCHAR(None))
        return dialect.type_descriptor(sa.UnicodeText())


BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""A counted id; SQLite counts only a column of the type INTEGER."""


def only_where(
    index: sa.Index,
    condition: sa.ColumnElement[bool],
    *,
    equal_nulls: bool = False,
) -> None:
    """Limit an index to the rows that meet a condition. Set when the table is created, because naming a dialect here would import it.

    Args:
        index: The index.
        condition: The condition.
        equal_nulls: Limit the index only where a unique index treats NULLs as equal.
    """

    def say(_table: sa.Table, connection: sa.Connection, **_options: Any) -> None:
        name = connection.dialect.name
        if name in (_EQUAL_NULLS if equal_nulls else _FILTERED):
            index.dialect_kwargs[f"{name}_where"] = condition

    sa.event.listen(index.table, "before_create", say)


# The time between two columns.


class elapsed(FunctionElement[float]):  # noqa: N801 - it is used like a function
    """The seconds between two instants; NULL when either is missing."""

    type = sa.Float()
    inherit_cache = True


class whole_seconds(FunctionElement[int]):  # noqa: N801
    """The whole seconds from an instant to an instant not before it, rounded down; NULL when either is missing."""

    type = sa.Integer()
    inherit_cache = True


@compiles(elapsed, "postgresql")
def _as_epoch(element: elapsed | whole_seconds, compiler: Any, **options: Any) -> str:
    begin, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"extract(epoch FROM {end} - {begin})"


@compiles(elapsed, "sqlite")
def _as_days(element: elapsed | whole_seconds, compiler: Any, **options: Any) -> str:
    begin, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"round((julianday({end}) - julianday({begin})) * 86400.0, 3)"


@compiles(whole_seconds, "postgresql")
def _as_floor(element: whole_seconds, compiler: Any, **options: Any) -> str:
    return f"CAST(floor({_as_epoch(element, compiler, **options)}) AS bigint)"


@compiles(whole_seconds, "sqlite")
def _as_integer(element: whole_seconds, compiler: Any, **options: Any) -> str:
    return f"CAST({_as_days(element, compiler, **options)} AS integer)"


# Texts of a group of rows. SQLAlchemy has such a function since 2.0.21.


class joined_texts(FunctionElement[str]):  # noqa: N801
    """The texts of a group of rows, in no order, with a separator between them; NULLs are left out; NULL for no text.

    Args:
        texts: The texts.
        separator: A constant of the scheduler's, without quotes.
    """

    type = sa.String()
    inherit_cache = True

    def __init__(self, texts: sa.ColumnElement[Any], separator: str = ",") -> None:
        super().__init__(texts, sa.literal_column(f"'{separator}'"))


def _joined_by(function: str) -> Callable[..., str]:
    """Return the compiler of :class:`joined_texts` for a database with this function."""

    def compiled(element: joined_texts, compiler: Any, **options: Any) -> str:
        return f"{function}({compiler.process(element.clauses, **options)})"

    return compiled


compiles(joined_texts, "postgresql")(_joined_by("string_agg"))
compiles(joined_texts, "sqlite")(_joined_by("group_concat"))
