"""Read rows of delimited text: CSV with a header, SSMS's grid without a header, ``bcp -c`` and ``-w``, ``sqlcmd -s``."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import PurePath
from typing import NamedTuple

from targcc_gen.errors import ExportError, NoTableError
from targcc_gen.readers.rows import ColumnKind, Item, KnownTables, Remark, RemarkKind, Row, Value
from targcc_gen.readers.text import Truncated

# Repair unquoted rows by the columns with a known type.
# SSMS saves a grid without header and quotes, so a comma in a cron text or a line break in a result shifts every later column. Dates,
# bits and counts cannot be confused with text, and mostly leave one way to read a row. A row with two ways is reported, not guessed.

_NULLS = {"", "NULL", "null", "\x00"}
_INT = re.compile(r"\s*-?\d+\s*")
_BIT = re.compile(r"\s*(?:0|1|true|false)\s*", re.IGNORECASE)
_DATE = re.compile(
    r"\s*(?:\d{4}-\d\d-\d\d|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{8}|[A-Za-z]{3} +\d+ +\d{4})"
    r"(?:[T ]+\d{1,2}:\d\d(?::\d\d(?:[.,:]\d+)?)?\s*(?:[AaPp][Mm])?)?\s*"
)
_CRON_FIELD = r"[\d*/,\-LWC#?A-Za-z]+"
_CRON = re.compile(rf"\s*(?:@\w+|{_CRON_FIELD}(?:\s+{_CRON_FIELD}){{4,6}})\s*")
_LINE = re.compile(r"[^\r\n]*")

_CRON_LETTERS = re.compile(r"[\d*/,\-LWC#?A-Za-z@_\s]*")
_GAP = re.compile(r"\s+")
_LEAST_GAPS, _MOST_GAPS = 4, 20
"""Blanks between and around the fields of a cron text."""
_LONGEST_CRON = 100
"""Pieces of a cron text; enough for a list of all 60 minutes."""
_ENOUGH = 2
"""Ways to keep for a row: two prove that the row is ambiguous."""
MAX_PIECES = 1000
"""Pieces of a row; a longer row is not searched."""
_STEPS, _STEPS_A_LETTER = 200_000, 5
"""Budget of searches, in pieces times columns: the most at once, and the refill for each letter read. The budget suffices for a file
that needs a search in every row; rows beyond the budget are reported as unreadable."""


class RowRepair:
    """Finds the ways to split a text into a row of known columns.

    Args:
        columns: The columns' names in lower case, in order.
        delimiter: The character between columns.
        kinds: The kind of each column that holds no free text.
    """

    def __init__(
        self, columns: Sequence[str], delimiter: str, kinds: Mapping[str, ColumnKind]
    ) -> None:
        self.columns = list(columns)
        self.delimiter = delimiter
        self._checks = [_CHECKS.get(kinds.get(column), _anything) for column in columns]
        self._kinds = [kinds.get(column) for column in columns]
        self._steps = _STEPS

    def starts_row(self, line: str) -> bool:
        """Whether a row may begin with this line: the first piece fits the first column and is not NULL."""
        head, delimiter, _ = line.partition(self.delimiter)
        return bool(delimiter) and self._checks[0](head) and head not in _NULLS

    def readings(self, text: str) -> list[list[str]]:
        """Return the possible rows of a text: none, the only row, or the first two of several."""
        pieces = text.split(self.delimiter)
        if len(pieces) == len(self.columns):
            return [pieces] if self._fits(pieces) else []
        self._steps = min(self._steps + _STEPS_A_LETTER * len(text), _STEPS)
        if len(pieces) < len(self.columns) or len(pieces) > MAX_PIECES:
            return []
        self._steps -= len(pieces) * len(self.columns)
        return self._search(pieces) if self._steps > 0 else []

    def _fits(self, pieces: Sequence[str]) -> bool:
        return all(check(piece) for check, piece in zip(self._checks, pieces, strict=True))

    def _search(self, pieces: list[str]) -> list[list[str]]:
        """Return up to two ways to fill the columns.

        ``ways[n]`` has up to two ways to fill the columns so far with ``n`` pieces, so time grows with pieces times columns.
        """
        ways: list[list[_Way]] = [[] for _ in range(len(pieces) + 1)]
        ways[0] = [_Way(None, 0, 0)]
        for index, kind in enumerate(self._kinds):
            last = len(pieces) - (len(self.columns) - index - 1)
            ways = self._filled(ways, pieces, kind, last)
            if not any(ways):
                return []
        return [way.cells(pieces, self.delimiter) for way in ways[-1]]

    def _filled(
        self, ways: list[list[_Way]], pieces: list[str], kind: ColumnKind | None, last: int
    ) -> list[list[_Way]]:
        """Extend the ways by one column, which ends before piece ``last`` at the latest."""
        if kind is ColumnKind.CRON:
            return self._with_cron(ways, pieces, last)
        check, wide = _CHECKS.get(kind, _anything), kind not in _ONE_PIECE
        following: list[list[_Way]] = [[] for _ in ways]
        begun: list[tuple[_Way, int]] = []
        """The first two ways whose value of this column is still open, each with the value's first piece."""
        for end in range(1, last + 1):
            piece = pieces[end - 1]
            here = [(way, end - 1) for way in ways[end - 1]]
            if wide and (kind is None or _LINE.fullmatch(piece)):
                begun = candidates = (begun + here)[:_ENOUGH]
            else:  # a value of one piece; no earlier open value may reach across
                begun, candidates = [], here if check(piece) else []
            following[end] = [_Way(way, start, end) for way, start in candidates[:_ENOUGH]]
        return following

    def _with_cron(self, ways: list[list[_Way]], pieces: list[str], last: int) -> list[list[_Way]]:
        following: list[list[_Way]] = [[] for _ in ways]
        check, blank = _CHECKS[ColumnKind.CRON], self.delimiter.isspace()
        gaps = [len(_GAP.findall(piece)) + blank for piece in pieces]
        for start, before in enumerate(ways[:last]):
            inside = 0
            for end in range(start + 1, min(last, start + _LONGEST_CRON) + 1) if before else ():
                inside += gaps[end - 1]
                if not _CRON_LETTERS.fullmatch(pieces[end - 1]) or inside > _MOST_GAPS:
                    break
                piece_end = following[end]
                if end > start + 1 and (len(piece_end) >= _ENOUGH or inside < _LEAST_GAPS):
                    continue
                if check(self.delimiter.join(pieces[start:end])):
                    piece_end += [_Way(way, start, end) for way in before][
                        : _ENOUGH - len(piece_end)
                    ]
        return following


class _Way(NamedTuple):
    """One assignment of a row's pieces to columns, as a linked list from the last column to the first.

    Attributes:
        before: The assignment of the columns to the left; None before the first column.
        start: Index of the first piece in the last column.
        end: Index after the last piece in the last column.
    """

    before: _Way | None
    start: int
    end: int

    def cells(self, pieces: Sequence[str], delimiter: str) -> list[str]:
        """Return the row's cells."""
        cells, way = [], self
        while way.before is not None:
            cells.append(delimiter.join(pieces[way.start : way.end]))
            way = way.before
        return cells[::-1]


def _matcher(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        return text.strip() in _NULLS or pattern.fullmatch(text) is not None

    return check


def _anything(_: str) -> bool:
    return True


_CHECKS: dict[ColumnKind | None, Callable[[str], bool]] = {
    ColumnKind.INTEGER: _matcher(_INT),
    ColumnKind.BIT: _matcher(_BIT),
    ColumnKind.DATE: _matcher(_DATE),
    ColumnKind.CRON: _matcher(_CRON),
    ColumnKind.LINE: _matcher(_LINE),
}
_ONE_PIECE = {ColumnKind.INTEGER, ColumnKind.BIT, ColumnKind.DATE}
"""Kinds whose values do not contain the delimiter; text and cron may contain the delimiter."""


# Delimited text.

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 200
_MIN_HEADER_NAMES = 2
_DASHES = re.compile(r"[\s,;|]*+-[-\s,;|]*")
# "(3 rows affected)" in any of SQL Server's languages: a line in parentheses with a number.
_FOOTER = re.compile(r"\s*\(\d+ [^()]*\)\s*")
_COLUMN_NAME = re.compile(r"[\w ]{1,60}")
_MAX_FIELD = 1 << 24
_MOST_TRIES = 50
"""Read attempts for a pending row; after more attempts the row is taken for broken."""


def read_csv(chunks: Iterator[str], file: str, tables: KnownTables) -> Iterator[Item]:
    """Yield every row, and a remark for each row that cannot be read in exactly one way.

    Args:
        chunks: The text in pieces.
        file: The file's name, for places and to tell the table.
        tables: The wanted tables.

    Raises:
        InputError: Neither a header nor the values tell the table.
        Truncated: The file ends inside quotes.
    """
    lines = _lines(chunks, file)
    sample = list(islice(lines, _SAMPLE_LINES))
    every = chain(sample, lines)
    header = _header(sample, tables)
    if header is None:
        return _headerless(sample, every, file, tables)
    columns, delimiter = header
    table = tables.table_of(columns, PurePath(file).name)
    if table is None:
        raise NoTableError(
            f"{file}:1: the columns {', '.join(columns[:6])} are of no table this import knows",
            hint=f"Export {tables.shown}.",
        )
    grid = _Grid(file, table, RowRepair(columns, delimiter, tables.kinds))
    next(every)
    if len(sample) > 1 and _DASHES.fullmatch(sample[1]):
        next(every)
        return grid.unquoted(every, first_line=3, padded=True)
    if any('"' in line for line in sample):
        return grid.quoted(every, first_line=2)
    return grid.unquoted(every, first_line=2)


def _lines(chunks: Iterator[str], file: str) -> Iterator[str]:
    """Yield lines split at ``\\n`` alone, with line ends; characters such as U+2028 end no line.

    Raises:
        InputError: A line is longer than ``_MAX_FIELD``.
    """
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        if len(rest) > _MAX_FIELD:
            raise ExportError(
                f"{file}: a line of more than {_MAX_FIELD:,} letters",
                hint="Export it again with line ends, or as a script.",
            )
        for line in lines:
            yield line + "\n"
    if rest:
        yield rest


def _header(sample: Sequence[str], tables: KnownTables) -> tuple[list[str], str] | None:
    """Return the column names and the delimiter of a header; ``None`` if the first line has too few known column names."""
    best: tuple[int, list[str], str] = (0, [], ",")
    for delimiter in _DELIMITERS:
        names = _names(sample[0] if sample else "", delimiter)
        known = sum(name in tables.columns for name in names)
        if known > best[0] and all(_COLUMN_NAME.fullmatch(name) for name in names if name):
            best = (known, names, delimiter)
    return best[1:] if best[0] >= _MIN_HEADER_NAMES else None


def _names(line: str, delimiter: str) -> list[str]:
    try:
        record = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a lone carriage return
        return []
    return [name.strip().strip("[]").lower() for name in record]


def _headerless(
    sample: Sequence[str], lines: Iterable[str], file: str, tables: KnownTables
) -> Iterator[Item]:
    grid = _best_grid(sample, file, tables)
    if grid is None:
        raise NoTableError(
            f"{file}:1: no header, and the values are of no table this import knows",
            hint="Save the grid with column headers (Options, Query Results, SQL Server, Results to Grid).",
        )
    opening = grid.repair.delimiter + '"'
    if any(line.startswith('"') or opening in line for line in sample):
        return grid.quoted(lines, first_line=1)
    return grid.unquoted(lines, first_line=1)


def _best_grid(sample: Sequence[str], file: str, tables: KnownTables) -> _Grid | None:
    """Return the shape and delimiter that read the most rows of the sample; a table in the file's name limits the choice."""
    named = tables.named_in(PurePath(file).name)
    best: tuple[int, _Grid | None] = (0, None)
    for table, columns in tables.headerless():
        if named not in {None, table, tables.main}:
            continue
        for delimiter in _DELIMITERS:
            repair = RowRepair(columns, delimiter, tables.kinds)
            groups = _groups(sample, repair, first_line=1)
            hits = sum(bool(repair.readings(text)) for _, text in groups)
            if hits > best[0]:
                best = (hits, _Grid(file, table, repair))
    return best[1]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Reads the lines of a file as rows of one table."""

    file: str
    table: str
    repair: RowRepair

    def quoted(self, lines: Iterable[str], *, first_line: int) -> Iterator[Item]:
        csv.field_size_limit(_MAX_FIELD)
        reader = csv.reader(lines, delimiter=self.repair.delimiter, strict=True)
        line = first_line
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "unexpected end" in str(error):
                    raise Truncated(self.file, line, "a quoted value") from None
                yield self._unreadable(line, f"not CSV: {error}")
            else:
                yield from self._record(record, line)
            line = reader.line_num + first_line

    def _record(self, record: list[str], line: int) -> Iterator[Item]:
        text = self.repair.delimiter.join(record)
        if not record or _is_footer(text):
            return
        fits = len(record) == len(self.repair.columns)
        yield self._row(record, line) if fits else self._only_reading(text, line)

    def unquoted(
        self, lines: Iterable[str], *, first_line: int, padded: bool = False
    ) -> Iterator[Item]:
        for line, text in _groups(lines, self.repair, first_line=first_line):
            if text.strip():
                item = self._only_reading(text, line)
                yield _unpadded(item) if padded else item

    def _only_reading(self, text: str, line: int) -> Item:
        readings = self.repair.readings(text)
        if len(readings) == 1:
            return self._row(readings[0], line)
        if readings:
            return self._unreadable(line, self._two_ways(*readings))
        count = text.count(self.repair.delimiter) + 1
        columns = len(self.repair.columns)
        return self._unreadable(
            line, f"{count} values for {columns} columns, and no way to fit them"
        )

    def _two_ways(self, first: Sequence[str], other: Sequence[str]) -> str:
        name, here, second = next(
            triple
            for triple in zip(self.repair.columns, first, other, strict=True)
            if triple[1] != triple[2]
        )
        return f"can be read in two ways: {name} is {here!r} or {second!r}"

    def _row(self, record: Sequence[str], line: int) -> Row:
        cells = zip(self.repair.columns, record, strict=True)
        return Row(self.table, {name: _value(text) for name, text in cells}, self.file, line)

    def _unreadable(self, line: int, reason: str) -> Remark:
        return Remark(RemarkKind.UNREADABLE, self.file, line, reason, self.table)


def _unpadded(item: Item) -> Item:
    if not isinstance(item, Row):
        return item
    values = {
        key: value.strip() if isinstance(value, str) else value
        for key, value in item.values.items()
    }
    return item._replace(values={key: _value(str(v or "NULL")) for key, v in values.items()})


def _groups(
    lines: Iterable[str], repair: RowRepair, *, first_line: int
) -> Iterator[tuple[int, str]]:
    """Yield the first line number and the text of each row; a row ends when readable and the next line may begin a row."""
    begun, pending = first_line, _Pending(repair)
    for number, line in enumerate(lines, start=first_line):
        if _is_footer(line) and (pending.is_empty or pending.can_be_read()):
            continue
        if pending.is_blank:
            begun, pending = number, _Pending(repair, line)
        elif repair.starts_row(line) and (pending.can_be_read() or repair.readings(_bare(line))):
            yield begun, pending.text
            begun, pending = number, _Pending(repair, line)
        else:
            pending.add(line)
    if not pending.is_empty:
        yield begun, pending.text


class _Pending:
    """Collects the lines of a row.

    Args:
        repair: Reads the row.
        line: The first line.
    """

    def __init__(self, repair: RowRepair, line: str = "") -> None:
        self._repair = repair
        self._lines = [line] if line else []
        self._pieces = line.count(repair.delimiter) + 1
        self._tries = 0
        self.is_blank = not line.strip()

    @property
    def is_empty(self) -> bool:
        return not self._lines

    @property
    def text(self) -> str:
        return _bare("".join(self._lines))

    def add(self, line: str) -> None:
        self._lines.append(line)
        self._pieces += line.count(self._repair.delimiter)

    def can_be_read(self) -> bool:
        """Whether the lines make a row; ``False`` without a try after too many pieces or tries."""
        if self._pieces > MAX_PIECES or self._tries > _MOST_TRIES:
            return False
        self._tries += 1
        return bool(self._repair.readings(self.text))


def _bare(text: str) -> str:
    return text.rstrip("\r\n")


def _is_footer(line: str) -> bool:
    return _FOOTER.fullmatch(line) is not None


def _value(text: str) -> Value:
    """Return a cell's value: ``NULL`` and an empty cell are ``None``; 0x00, bcp's empty string, is ``""``."""
    if text in {"NULL", ""}:
        return None
    return "" if text == "\x00" else text
