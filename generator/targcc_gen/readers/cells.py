"""A row's cells as what they mean, whatever the format wrote: ``1``, ``"True"`` and ``1.0`` are all yes.

Names are tried in order, since shops have called the same column by different names.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from targcc_gen.readers.rows import Row, Unknown, Value
from targcc_gen.readers.tsql.literals import parse_datetime

_YES = {"1", "true", "yes", "y", "-1", "t"}
_NO = {"0", "false", "no", "n", "f"}
_EXCEL_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - wall time


def cell(row: Row, *names: str) -> Value:
    """The first of these columns that the row has with a value."""
    for name in names:
        value = row.values.get(name)
        if value is not None:
            return value
    return None


def text(row: Row, *names: str) -> str | None:
    """A text without blanks around it; None if it is NULL, empty or unknown."""
    value = cell(row, *names)
    if value is None or isinstance(value, Unknown):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return str(value).strip() or None


def key(row: Row, *names: str) -> str | None:
    """An id as text, so that ``7``, ``7.0`` and ``"7"`` are one."""
    found = text(row, *names)
    return found[:-2] if found and found.endswith(".0") else found


def integer(row: Row, *names: str) -> int | None:
    """A whole number; None if it is NULL, unknown or no number."""
    value = cell(row, *names)
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) else None


def flag(row: Row, *names: str) -> bool | None:
    """Yes or no, also as a bit written in binary, ``0x01``; None if it is NULL, unknown or neither."""
    value = cell(row, *names)
    if isinstance(value, bytes):
        return any(value)
    found = key(row, *names)
    if found is None:
        return None
    word = found.lower()
    return True if word in _YES else False if word in _NO else None


def moment(row: Row, *names: str) -> datetime | None:
    """A date and time of the old server's wall clock; None if it is NULL, unknown or can be read in two ways."""
    value = cell(row, *names)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, str):
        return parse_datetime(value)
    if isinstance(value, int | float):
        try:
            return _EXCEL_EPOCH + timedelta(seconds=round(value * 86400))
        except OverflowError:
            return None
    return None


def unknowns(row: Row) -> dict[str, str]:
    """The columns whose value only the old server knew, with the expression."""
    return {name: value.text for name, value in row.values.items() if isinstance(value, Unknown)}
