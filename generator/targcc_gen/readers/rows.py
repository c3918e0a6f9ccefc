"""The result of reading an export: rows, remarks, and the meaning of cells."""

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
    """A value only the old server could have computed, such as ``GETDATE()``; ``text`` is the expression."""

    text: str


Value = str | int | float | datetime | bytes | Unknown | None
"""A cell as it was exported. Text formats (CSV) give ``str`` for everything; ``cells`` turns it into what is wanted."""


class Row(NamedTuple):
    """One row of an exported table.

    ``table`` is the last part of the table's name in lower case; the keys of ``values`` are column names in lower
    case; ``line`` counts from 1 and is where the row begins. ``orders`` are the orders of day, month and year that texts of
    dates may have; ``is_sparse``: the format leaves NULLs out, so a column that no row has may be NULL in all.
    """

    table: str
    values: Mapping[str, Value]
    file: str
    line: int
    orders: frozenset[str] = EVERY_ORDER
    is_sparse: bool = False

    @property
    def place(self) -> str:
        """``file:line``, as errors and reports name a row."""
        return _place(self.file, self.line)


class RemarkKind(StrEnum):
    """What a remark is about."""

    UNREADABLE = "unreadable"
    """A row that is there but cannot be known; it counts as a row, and as rejected."""
    SKIPPED = "skipped"
    """A statement that changes data without being a row: MERGE, UPDATE, DELETE…"""
    WARNING = "warning"
    """The row was kept; something about it should be looked at."""


class Remark(NamedTuple):
    """Something the reader has to say about a place in the export.

    ``table`` is empty when it is about no table, ``line`` is 0 when it is about the file as a whole.
    """

    kind: RemarkKind
    file: str
    line: int
    text: str
    table: str = ""
    where: tuple[str, tuple[str, ...]] | None = None
    """Of a statement that changes rows: the column that chooses them, and its values; None where that is not so simple."""

    @property
    def place(self) -> str:
        """``file:line``, or the file alone."""
        return _place(self.file, self.line)


class Routine(NamedTuple):
    """A stored procedure that the export has the text of: what it uses, as far as its words tell.

    ``table`` is empty: it is no row of any.
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


# Cells as values, whatever the format wrote: ``1``, ``"True"`` and ``1.0`` are all yes.
# Names are tried in order, since shops have called the same column by different names. ``None`` is NULL and nothing else: a cell that
# holds something that cannot be read raises :class:`UnreadableCellError`.

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
    value = text(row, *names)
    return value[:-2] if value and value.endswith(".0") else value


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


# The tables a caller looks for; readers know formats only.


class ColumnKind(StrEnum):
    """What a column can hold, as far as it tells where a value begins and ends in text that nobody quoted."""

    INTEGER = "integer"
    BIT = "bit"
    DATE = "date"
    CRON = "cron"
    LINE = "line"
    """Text without line breaks."""


@dataclass(frozen=True, slots=True)
class KnownTables:
    """The tables a caller looks for, and how they are told from each other. All names are in lower case but where said.

    Attributes:
        names: Each table, and how people write it.
        main: The table without which an export is of no use.
        signs: Columns that tell which table a row without a table's name belongs to.
        shapes: The column lists that a table is known with, for rows without column names.
        identity: The column that T-SQL leaves out of such a row, as the server fills it.
        columns: Every column name of any table; a header line is recognised by them.
        kinds: What the columns hold whose values cannot be confused with text.
        dates: The columns that hold a date.
        nested: The table of rows that stand inside another row, as ``FOR JSON AUTO`` puts them.
        link: The column in which such a row gets the ``identity`` of the row around it.
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
        """The tables as people write them: ``a, b or c``."""
        *first, last = self.names.values()
        return f"{', '.join(first)} or {last}" if first else last

    @property
    def main_shown(self) -> str:
        """The main table as people write it."""
        return self.names[self.main]

    def columns_of(self, table: str, count: int) -> Sequence[str] | None:
        """The columns of a row that came without names, if a shape of ``table`` has ``count`` of them.

        A row with one value less than a shape has left out the identity column (T-SQL does that without a column list).
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
        """Each table and column list that rows without any header are tried against."""
        for table, shapes in self.shapes.items():
            for columns in shapes:
                yield table, columns

    def named_in(self, file_name: str) -> str | None:
        """The table whose name a file's or sheet's name holds; the longest, as one name may begin another."""
        squeezed = _squeezed(file_name)
        for table in sorted(self.names, key=len, reverse=True):
            if _squeezed(table) in squeezed:
                return table
        return None

    def table_of(self, columns: Sequence[str], file_name: str = "") -> str | None:
        """Which table a list of columns belongs to, for formats that do not name it.

        The file's name decides if it holds a table's name; otherwise the columns that only one table has.
        """
        if named := self.named_in(file_name):
            return named
        scores = {table: len(signs & set(columns)) for table, signs in self.signs.items()}
        best = max(scores, key=lambda table: scores[table])
        return best if scores[best] else None


def _squeezed(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
