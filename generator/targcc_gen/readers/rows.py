"""What reading an export gives: rows, and remarks about what is no row. The formats differ; everything after this does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from targcc_gen.readers.dates import EVERY_ORDER


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
