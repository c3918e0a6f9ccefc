"""The columns of rows that an INSERT gives without naming them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from targcc_gen.readers.tables import KnownTables


class TableColumns:
    """Knows the tables that the script creates, and those that the caller looks for.

    Args:
        known: What is looked for.
    """

    def __init__(self, known: KnownTables) -> None:
        self._known = known
        self._created: dict[str, tuple[Sequence[str], Collection[str]]] = {}

    def create(self, table: str, columns: Sequence[str], computed: Collection[str]) -> None:
        """Take a table's columns from its CREATE TABLE.

        Args:
            table: Its name in lower case.
            columns: All its columns, in order.
            computed: Those that take no value: identity, computed, row version.
        """
        self._created[table] = columns, computed

    def of(self, table: str, count: int) -> Sequence[str] | None:
        """The columns of a row with ``count`` values; None if they cannot be known."""
        if table not in self._created:
            return self._known.columns_of(table, count)
        columns, computed = self._created[table]
        if len(columns) == count:
            return columns
        stored = [column for column in columns if column not in computed]
        return stored if len(stored) == count else None
