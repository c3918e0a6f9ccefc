"""Column types and helpers shared by all tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import quoted_name

from .dialects.column_types import (
    BIG_ID,
    LongText,
    UtcDateTime,
    elapsed,
    joined_texts,
    only_where,
    whole_seconds,
)

__all__ = (
    "BIG_ID",
    "LONG",
    "LongText",
    "UtcDateTime",
    "column",
    "elapsed",
    "joined_texts",
    "metadata",
    "named",
    "only_where",
    "table",
    "text",
    "whole_seconds",
)

# Names without quotes, instants in UTC, text of any length.

metadata = sa.MetaData()


LONG = LongText()


def named(name: str) -> quoted_name:
    """Return a name that stays unquoted in SQL."""
    return quoted_name(name, quote=False)


def table(name: str, *items: Any) -> sa.Table:
    """Create a table with a named primary key."""
    made = sa.Table(named(name), metadata, *items)
    made.primary_key.name = named(f"PK_{name}")
    return made


def column(name: str, type_: Any, *items: Any, **options: Any) -> sa.Column[Any]:
    """Create a column with an unquoted name."""
    return sa.Column(named(name), type_, *items, **options)


def text(length: int) -> sa.Unicode:
    """Return the type of text of at most ``length`` characters."""
    return sa.Unicode(length)
