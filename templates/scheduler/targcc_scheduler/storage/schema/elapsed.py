"""The time between two columns."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class elapsed(FunctionElement[float]):  # noqa: N801 - it is used like a function
    """The seconds from one instant to another; NULL when one is missing."""

    type = sa.Float()
    inherit_cache = True


class whole_seconds(FunctionElement[int]):  # noqa: N801
    """The seconds that are over from one instant to another, which is not before it; NULL when one is missing."""

    type = sa.Integer()
    inherit_cache = True


@compiles(elapsed, "postgresql")
def _as_epoch(element: elapsed | whole_seconds, compiler: Any, **options: Any) -> str:
    begin, end = (compiler.process(one, **options) for one in element.clauses)
    return f"extract(epoch FROM {end} - {begin})"


@compiles(elapsed, "sqlite")
def _as_days(element: elapsed | whole_seconds, compiler: Any, **options: Any) -> str:
    begin, end = (compiler.process(one, **options) for one in element.clauses)
    return f"round((julianday({end}) - julianday({begin})) * 86400.0, 3)"


@compiles(whole_seconds, "postgresql")
def _as_floor(element: whole_seconds, compiler: Any, **options: Any) -> str:
    return f"CAST(floor({_as_epoch(element, compiler, **options)}) AS bigint)"


@compiles(whole_seconds, "sqlite")
def _as_integer(element: whole_seconds, compiler: Any, **options: Any) -> str:
    return f"CAST({_as_days(element, compiler, **options)} AS integer)"
