"""Texts compared by LIKE, in any case; SQLite folds ASCII only, so other letters are also compared as they are."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ...search.terms import Pattern

_SPECIAL = ("\\", "%", "_", "[")  # the bracket is SQL Server's


def escaped(text: str) -> str:
    """A text for LIKE, by a back-slash."""
    for special in _SPECIAL:
        text = text.replace(special, f"\\{special}")
    return text


def like_pattern(pattern: Pattern) -> str:
    """A pattern as LIKE has it."""
    text = escaped(pattern.text)
    return text if pattern.literal else text.replace("*", "%").replace("?", "_")


def is_like(column: sa.Column[Any], pattern: Pattern, more: str = "") -> sa.ColumnElement[bool]:
    """That a text is what the pattern says, and then what ``more`` says."""
    return _like(column, like_pattern(pattern) + more)


def contains(column: sa.Column[Any], pattern: Pattern) -> sa.ColumnElement[bool]:
    """That what the pattern says stands in a text."""
    return _like(column, f"%{like_pattern(pattern)}%")


def _like(column: sa.Column[Any], wanted: str) -> sa.ColumnElement[bool]:
    return sa.or_(
        sa.func.lower(column).like(wanted.lower(), escape="\\"),
        column.like(wanted, escape="\\"),
    )
