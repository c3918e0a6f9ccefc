"""Rows of delimited text that nobody quoted: put back together by the columns whose type is known.

SSMS saves a grid without header and without quotes, so a comma in a cron text or a line break in a result shifts every later
column. Dates, bits and counts cannot be confused with text, and mostly leave one way to read a row. Where they leave two, the row is
reported and not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from targcc_gen.readers.tables import ColumnKind

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
"""Between the fields of a cron text, and around it."""
_LONGEST_CRON = 100
"""Pieces of one cron text: all minutes of an hour, and more."""
_ENOUGH = 2
"""Ways to read a row: more than one is one too many."""
MAX_PIECES = 1000
"""Pieces of one row; more are not searched for a way to read them."""
_STEPS, _STEPS_A_LETTER = 200_000, 5
"""What a search may cost, in pieces times columns: so much at once, and so much for each letter read. Enough for files in which every row
needs it; a file that is made to need more is reported row by row as unreadable."""


class RowRepair:
    """Finds the ways to read pieces of text as a row of known columns.

    Args:
        columns: The columns' names in lower case, in order.
        delimiter: What stands between columns, one character.
        kinds: What the columns hold that hold no free text.
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
        """Could a row begin with this line? Its first piece must be what the first column is."""
        head, found, _ = line.partition(self.delimiter)
        return bool(found) and self._checks[0](head) and head not in _NULLS

    def readings(self, text: str) -> list[list[str]]:
        """The rows this text may be: none, the one, or the first two of several."""
        pieces = text.split(self.delimiter)
        if len(pieces) == len(self.columns):
            return [pieces] if self._fits(pieces) else []
        self._steps = min(self._steps + _STEPS_A_LETTER * len(text), _STEPS)
        if not len(self.columns) < len(pieces) <= MAX_PIECES:
            return []
        self._steps -= len(pieces) * len(self.columns)
        return self._search(pieces) if self._steps > 0 else []

    def _fits(self, pieces: Sequence[str]) -> bool:
        return all(check(piece) for check, piece in zip(self._checks, pieces, strict=True))

    def _search(self, pieces: list[str]) -> list[list[str]]:
        """For each number of pieces used so far, up to two ways to have filled the columns so far: time grows with the pieces alone."""
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
        """The ways with one more column, which ends before piece ``last`` at the latest."""
        if kind is ColumnKind.CRON:
            return self._with_cron(ways, pieces, last)
        check, wide = _CHECKS.get(kind, _anything), kind not in _ONE_PIECE
        following: list[list[_Way]] = [[] for _ in ways]
        begun: list[tuple[_Way, int]] = []
        """The first two ways to have begun this column and still to be in it, each with its first piece."""
        for end in range(1, last + 1):
            piece = pieces[end - 1]
            here = [(way, end - 1) for way in ways[end - 1]]
            if wide and (kind is None or _LINE.fullmatch(piece)):
                begun = found = (begun + here)[:_ENOUGH]
            else:  # one piece, which nothing that began before it reaches across
                begun, found = [], here if check(piece) else []
            following[end] = [_Way(way, start, end) for way, start in found[:_ENOUGH]]
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
                found = following[end]
                if end > start + 1 and (len(found) >= _ENOUGH or inside < _LEAST_GAPS):
                    continue
                if check(self.delimiter.join(pieces[start:end])):
                    found += [_Way(way, start, end) for way in before][: _ENOUGH - len(found)]
        return following


class _Way(NamedTuple):
    """One way to have filled columns: those before, and the pieces of the last."""

    before: _Way | None
    start: int
    end: int

    def cells(self, pieces: Sequence[str], delimiter: str) -> list[str]:
        """The row."""
        found, way = [], self
        while way.before is not None:
            found.append(delimiter.join(pieces[way.start : way.end]))
            way = way.before
        return found[::-1]


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
"""Kinds that do not hold the delimiter; text and cron may."""
