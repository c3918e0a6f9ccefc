"""Rows of delimited text that nobody quoted: put back together by the columns whose type is known.

SSMS saves a grid without header and without quotes, so a comma in a cron text or a line break in a result shifts every later
column. Dates, bits and counts cannot be confused with text, and mostly leave one way to read a row. Where they leave two, the row is
reported: never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

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

_MAX_PIECES = 2000


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
        # Text and cron may hold the delimiter themselves; everything else is one piece.
        self._wide = [kinds.get(column) not in _ONE_PIECE for column in columns]

    def starts_row(self, line: str) -> bool:
        """Could a row begin with this line? Its first piece must be what the first column is."""
        head, found, _ = line.partition(self.delimiter)
        return bool(found) and self._checks[0](head) and head not in _NULLS

    def readings(self, text: str) -> list[list[str]]:
        """The rows this text may be: none, the one, or the first two of several."""
        pieces = text.split(self.delimiter)
        if len(pieces) == len(self.columns):
            return [pieces] if self._fits(pieces) else []
        if not len(self.columns) < len(pieces) <= _MAX_PIECES:
            return []
        return self._search(pieces)

    def _fits(self, pieces: Sequence[str]) -> bool:
        return all(check(piece) for check, piece in zip(self._checks, pieces, strict=True))

    def _search(self, pieces: list[str]) -> list[list[str]]:
        """For each number of pieces used so far, up to two ways to have filled the columns so far."""
        ways: dict[int, list[list[str]]] = {0: [[]]}
        for index, check in enumerate(self._checks):
            left = len(self.columns) - index - 1
            following: dict[int, list[list[str]]] = {}
            for start, before in ways.items():
                last = len(pieces) - left if self._wide[index] else start + 1
                for end in range(start + 1, last + 1):
                    text = self.delimiter.join(pieces[start:end])
                    if check(text):
                        found = following.setdefault(end, [])
                        found += [[*way, text] for way in before][: 2 - len(found)]
            ways = following
        return ways.get(len(pieces), [])


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
