"""Rows and remarks of an export, typed reading of cells, and the tables that a caller wants."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, TypeVar

from targcc_gen.readers.dates import EVERY_ORDER, AmbiguousDateError, read_date

# Rows and remarks.


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that only the old server can compute, such as ``GETDATE()``; ``text`` is the expression."""

    text: str


Value = str | int | float | datetime | bytes | Unknown | None
"""A cell as exported. Text formats (CSV) give only ``str``; the functions below convert cells to types."""


class Row(NamedTuple):
    """A row of an exported table.

    ``table`` is the last part of the table's name in lower case. The keys of ``values`` are column names in lower case. ``line`` is the
    first line of the row, from 1. ``orders`` has the possible orders of day, month and year in texts of dates. ``is_sparse``: the
    format omits NULLs, so a column that no row has may be NULL in all rows.
    """

    table: str
    values: Mapping[str, Value]
    file: str
    line: int
    orders: frozenset[str] = EVERY_ORDER
    is_sparse: bool = False

    @property
    def place(self) -> str:
        """The row's place in errors and reports: ``file:line``."""
        return _place(self.file, self.line)


class RemarkKind(StrEnum):
    """The kind of a remark."""

    UNREADABLE = "unreadable"
    """A row that cannot be read; counts as a row and as rejected."""
    SKIPPED = "skipped"
    """A statement that changes data without giving rows: MERGE, UPDATE, DELETE…"""
    WARNING = "warning"
    """A doubt to look at; no row is rejected."""


class Remark(NamedTuple):
    """A message of the reader about a place in the export.

    ``table`` is empty for a remark about no table; ``line`` is 0 for a remark about the whole file.
    """

    kind: RemarkKind
    file: str
    line: int
    text: str
    table: str = ""
    where: tuple[str, tuple[str, ...]] | None = None
    """For a statement that changes rows: the column of the condition and its values; ``None`` for a complex condition."""

    @property
    def place(self) -> str:
        """The remark's place: ``file:line``, or the file alone."""
        return _place(self.file, self.line)


class Routine(NamedTuple):
    """A stored procedure of the export: the tables written and read, and the procedures called, as far as the text tells.

    ``table`` is empty, since a routine is not a row.
    """

    name: str
    file: str
    line: int
    writes: tuple[str, ...]
    reads: tuple[str, ...]
    calls: tuple[str, ...]
    table: str = ""


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file


Item = Row | Remark | Routine


# Read cells as typed values, whatever the format wrote: ``1``, ``"True"`` and ``1.0`` are all true.
# Each function tries several column names in order, since shops name the same column differently. ``None`` means NULL; a cell with an
# unreadable value raises :class:`UnreadableCellError`.

T = TypeVar("T")

_YES = {"1", "true", "yes", "y", "-1", "t"}
_NO = {"0", "false", "no", "n", "f"}
_WIDEST = 60
_CLOCK = re.compile(
    r"(?:(\d{1,4}) days?, |(\d{1,4})\.)?(\d{1,4}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?"
)


class UnreadableCellError(ValueError):
    """A cell with an unreadable value; the message names the column and the reason.

    Attributes:
        column: The column.
        is_ambiguous: Whether the cell is a date that can be read in several ways.
    """

    def __init__(self, column: str, why: str, *, is_ambiguous: bool = False) -> None:
        self.column = column
        self.is_ambiguous = is_ambiguous
        super().__init__(f"{column} {why}")


def cell(row: Row, *names: str) -> Value:
    """Return the first value among these columns; ``None`` if all are NULL or missing."""
    for name in names:
        value = row.values.get(name)
        if value is not None:
            return value
    return None


def _filled(row: Row, *names: str) -> tuple[str, str | int | float | datetime | bytes] | None:
    """Return the first of these columns with a value, and the value; ``None`` for NULL and for a blank text.

    Raises:
        UnreadableCellError: Only the old server knows the value.
    """
    for name in names:
        value = row.values.get(name)
        if isinstance(value, Unknown):
            raise UnreadableCellError(name, f"is {value.text}, which only the old server knew")
        if value is not None:
            return None if isinstance(value, str) and not value.strip() else (name, value)
    return None


def text(row: Row, *names: str) -> str | None:
    """Return a cell as stripped text; ``None`` for NULL, an empty text or an unknown value."""
    value = cell(row, *names)
    if value is None or isinstance(value, Unknown):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return str(value).strip() or None


def key(row: Row, *names: str) -> str | None:
    """Return an id as text; ``7``, ``7.0`` and ``"7"`` give the same text."""
    value = text(row, *names)
    return value[:-2] if value and value.endswith(".0") else value


def integer(row: Row, *names: str) -> int | None:
    """Return a cell as a whole number; ``None`` for NULL.

    Raises:
        UnreadableCellError: The value is not a whole number.
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
    """Return a cell as a truth value, also from a binary bit such as ``0x01``; ``None`` for NULL.

    Raises:
        UnreadableCellError: The value is neither true nor false.
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
    """Return a cell as date and time in the old server's wall time; ``None`` for NULL.

    Raises:
        UnreadableCellError: The value is not a date, or can be read in several ways.
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
    """Return a cell as a duration, from a number of units or a time such as ``0:01:23.5``; ``None`` for NULL.

    Args:
        row: The row.
        unit: The unit of a number.
        names: The columns.

    Raises:
        UnreadableCellError: The value is not a duration.
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
    """Return the result of a reader such as :func:`moment`; ``None`` also for an unreadable cell, in columns that decide nothing."""
    try:
        return read(row, *names)
    except UnreadableCellError:
        return None


def unknowns(row: Row) -> dict[str, str]:
    """Map each column with an unknown value to the expression."""
    return {name: value.text for name, value in row.values.items() if isinstance(value, Unknown)}


# The tables that a caller wants.


class ColumnKind(StrEnum):
    """The kind of values in a column; helps to find the limits of values in unquoted text."""

    INTEGER = "integer"
    BIT = "bit"
    DATE = "date"
    CRON = "cron"
    LINE = "line"
    """Text without line breaks."""


@dataclass(frozen=True, slots=True)
class KnownTables:
    """The tables that a caller wants, and how to tell the tables apart. Names are in lower case, except the values of ``names``.

    Attributes:
        names: Maps each table to its usual spelling.
        main: The table that an import needs.
        signs: Maps each table to the columns that identify a row without a table name.
        shapes: Maps each table to its known column lists, for rows without column names.
        identity: The column that T-SQL omits from a row without a column list, since the server fills the value.
        columns: Every column name of every table; a header line is recognised by these names.
        kinds: Maps columns to kinds, for columns whose values cannot be confused with text.
        dates: The columns that hold a date.
        nested: The table of rows inside another row, as ``FOR JSON AUTO`` writes joined rows.
        link: The column of a nested row that gets the outer row's ``identity``.
        strangers: Columns that only another program's table of the same name has.
    """

    names: Mapping[str, str]
    main: str
    signs: Mapping[str, frozenset[str]]
    shapes: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    identity: str = "id"
    columns: frozenset[str] = frozenset()
    kinds: Mapping[str, ColumnKind] = field(default_factory=dict)
    dates: frozenset[str] = frozenset()
    nested: str = ""
    link: str = ""
    strangers: frozenset[str] = frozenset()

    def __contains__(self, table: str) -> bool:
        return table in self.names

    @property
    def shown(self) -> str:
        """The tables' usual spellings as text: ``a, b or c``."""
        *first, last = self.names.values()
        return f"{', '.join(first)} or {last}" if first else last

    @property
    def main_shown(self) -> str:
        """The main table's usual spelling."""
        return self.names[self.main]

    def columns_of(self, table: str, count: int) -> Sequence[str] | None:
        """Return the columns of a row with ``count`` values and no column names; ``None`` if no shape of ``table`` fits.

        A row with one value less than a shape lacks the identity column, as in T-SQL without a column list.
        """
        for columns in self.shapes.get(table, ()):
            if len(columns) == count:
                return columns
        for columns in self.shapes.get(table, ()):
            without_identity = [column for column in columns if column != self.identity]
            if len(without_identity) == count:
                return without_identity
        return None

    def headerless(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield each table and column list to try on rows without a header."""
        for table, shapes in self.shapes.items():
            for columns in shapes:
                yield table, columns

    def named_in(self, file_name: str) -> str | None:
        """Return the longest table name inside a file's or sheet's name; ``None`` if the name holds none."""
        squeezed = _squeezed(file_name)
        for table in sorted(self.names, key=len, reverse=True):
            if _squeezed(table) in squeezed:
                return table
        return None

    def table_of(self, columns: Sequence[str], file_name: str = "") -> str | None:
        """Return the table of a list of columns, for formats that do not name the table.

        A table's name in the file's name decides; otherwise the table with the most matching signs.
        """
        if named := self.named_in(file_name):
            return named
        scores = {table: len(signs & set(columns)) for table, signs in self.signs.items()}
        best = max(scores, key=lambda table: scores[table])
        return best if scores[best] else None


def _squeezed(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
