"""What a caller looks for in an export. The readers know formats; which tables there are, they are told by this value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


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
