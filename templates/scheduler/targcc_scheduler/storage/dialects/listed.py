"""Lists of values in statements, as one parameter each: the text of a statement stays the same, and databases and drivers keep it prepared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class ListOf(TypeDecorator[Iterable[Any]]):
    """A list as one value: an array on PostgreSQL, JSON on SQLite.

    Args:
        item: The type of what is in it.
    """

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: type[TypeEngine[Any]]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        """What the parameter is in each database."""
        kind: TypeEngine[Any] = sa.ARRAY(self.item) if dialect.name == "postgresql" else sa.Text()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Iterable[Any] | None, dialect: sa.Dialect) -> Any:
        """What is sent to the database."""
        listed = list(value or ())
        return listed if dialect.name == "postgresql" else json.dumps(listed)


class is_among(FunctionElement[Any]):  # noqa: N801 - it is used like a function
    """That a column is one of the values of a parameter: ``is_among(column, listed("ids", sa.BigInteger))``."""

    type = (
        sa.types.NullType()
    )  # of a Boolean SQLAlchemy would ask SQLite whether it is 1, and no index would be used
    inherit_cache = True


def listed(name: str, item: type[TypeEngine[Any]]) -> sa.BindParameter[Any]:
    """A parameter that is a list."""
    return sa.bindparam(name, type_=ListOf(item))


@compiles(is_among, "postgresql")
def _as_array(element: is_among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(one, **options) for one in element.clauses)
    return f"({column} = ANY ({values}))"


@compiles(is_among, "sqlite")
def _as_json(element: is_among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(one, **options) for one in element.clauses)
    return f"({column} IN (SELECT value FROM json_each({values})))"  # noqa: S608 - a column and a parameter


class is_found(FunctionElement[Any]):  # noqa: N801 - it is used like a function
    """That a column is one of what a scalar subquery selects, which PostgreSQL executes once, before it looks for rows: ``is_found(column, subquery)``.

    A subquery with ``FOR UPDATE`` it may else execute again for each row that the rest of the statement finds.
    """

    type = sa.types.NullType()
    inherit_cache = True


@compiles(is_found, "postgresql")
def _in_array(element: is_found, compiler: Any, **options: Any) -> str:
    column, rows = (compiler.process(one, **options) for one in element.clauses)
    return f"({column} = ANY (ARRAY{rows}))"


@compiles(is_found, "sqlite")
def _in_rows(element: is_found, compiler: Any, **options: Any) -> str:
    column, rows = (compiler.process(one, **options) for one in element.clauses)
    return f"({column} IN {rows})"
