"""A row's cells as what they mean, whatever the format wrote: ``1``, ``"True"`` and ``1.0`` are all yes.

Names are tried in order, since shops have called the same column by different names. ``None`` is NULL and nothing else: a cell that
holds something that cannot be read raises :class:`UnreadableCellError`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from targcc_gen.readers.dates import AmbiguousDateError, read_date
from targcc_gen.readers.rows import Row, Unknown, Value

T = TypeVar("T")

_YES = {"1", "true", "yes", "y", "-1", "t"}
_NO = {"0", "false", "no", "n", "f"}
_WIDEST = 60
_CLOCK = re.compile(
    r"(?:(\d{1,4}) days?, |(\d{1,4})\.)?(\d{1,4}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?"
)


class UnreadableCellError(ValueError):
    """A cell that is not NULL and whose value is not known; the message names the column and says why.

    Attributes:
        column: The column.
        is_ambiguous: Whether the cell is a date that can be read in several ways.
    """

    def __init__(self, column: str, why: str, *, is_ambiguous: bool = False) -> None:
        self.column = column
        self.is_ambiguous = is_ambiguous
        super().__init__(f"{column} {why}")


def cell(row: Row, *names: str) -> Value:
    """The first of these columns that the row has with a value."""
    for name in names:
        value = row.values.get(name)
        if value is not None:
            return value
    return None


def _filled(row: Row, *names: str) -> tuple[str, str | int | float | datetime | bytes] | None:
    """The first of these columns with a value, and the value; ``None`` for NULL and for a text of blanks.

    Raises:
        UnreadableCellError: Only the old server knew the value.
    """
    for name in names:
        value = row.values.get(name)
        if isinstance(value, Unknown):
            raise UnreadableCellError(name, f"is {value.text}, which only the old server knew")
        if value is not None:
            return None if isinstance(value, str) and not value.strip() else (name, value)
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
    """A whole number; None if it is NULL.

    Raises:
        UnreadableCellError: It is no whole number.
    """
    filled = _filled(row, *names)
    if filled is None:
        return None
    name, value = filled
    if isinstance(value, bytes):
        return int.from_bytes(value, "big", signed=True)
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not number.is_integer():
        raise UnreadableCellError(name, f'is "{_shown(value)}", which is no whole number')
    return int(number)


def flag(row: Row, *names: str) -> bool | None:
    """Yes or no, also as a bit written in binary, ``0x01``; None if it is NULL.

    Raises:
        UnreadableCellError: It is neither.
    """
    filled = _filled(row, *names)
    if filled is None:
        return None
    name, value = filled
    if isinstance(value, bytes):
        return any(value)
    word = (key(row, name) or "").lower()
    if word not in _YES | _NO:
        raise UnreadableCellError(name, f'is "{_shown(value)}", which is neither 0 nor 1')
    return word in _YES


def moment(row: Row, *names: str) -> datetime | None:
    """A date and time of the old server's wall clock; None if it is NULL.

    Raises:
        UnreadableCellError: It is no date, or can be read in several ways.
    """
    filled = _filled(row, *names)
    if filled is None:
        return None
    name, value = filled
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    try:
        if isinstance(value, str):
            return read_date(value, row.orders)
    except AmbiguousDateError as error:
        text = f"is {error}; --dates says how"
        raise UnreadableCellError(name, text, is_ambiguous=True) from None
    except ValueError:
        pass
    orders = "" if len(row.orders) > 1 else f" in the order {next(iter(row.orders))}"
    raise UnreadableCellError(name, f'is "{_shown(value)}", which is no date{orders}')


def duration(row: Row, unit: timedelta, *names: str) -> timedelta | None:
    """How long something took: a number of units, or a time such as ``0:01:23.5``; None if it is NULL.

    Args:
        row: The row.
        unit: What a number counts.
        names: The columns.

    Raises:
        UnreadableCellError: It is no length of time.
    """
    filled = _filled(row, *names)
    if filled is None:
        return None
    name, value = filled
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        days, hours, minutes, seconds = (
            int(part or 0) for part in (clock[1] or clock[2], *clock.groups()[2:5])
        )
        fraction = float(f"0.{clock[6] or 0}")
        return timedelta(days, seconds + fraction, hours=hours, minutes=minutes)
    try:
        number = integer(row, name) if isinstance(value, bytes) else float(str(value))
        return (number or 0) * unit
    except (ValueError, OverflowError):
        raise UnreadableCellError(
            name, f'is "{_shown(value)}", which is no length of time'
        ) from None


def _shown(value: Value) -> str:
    text = str(value)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


def readable(read: Callable[..., T | None], row: Row, *names: str) -> T | None:
    """What a reader such as :func:`moment` finds; ``None`` also for a cell that cannot be read: for columns that decide nothing."""
    try:
        return read(row, *names)
    except UnreadableCellError:
        return None


def unknowns(row: Row) -> dict[str, str]:
    """The columns whose value only the old server knew, with the expression."""
    return {name: value.text for name, value in row.values.items() if isinstance(value, Unknown)}
