"""Read the rows of INSERT and MERGE statements of a T-SQL script."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from targcc_gen.readers.rows import Item, KnownTables, Remark, RemarkKind, Row, Unknown, Value
from targcc_gen.readers.text import Truncated
from targcc_gen.readers.tsql.expressions import (
    Expressions,
    NotAnExpression,
    row_pattern,
    row_values,
)
from targcc_gen.readers.tsql.scanner import Kind, Scanner, Token, dotted

# Columns of an INSERT without a column list.


class TableColumns:
    """The columns of tables, from CREATE TABLE in the script or from the caller's shapes.

    Args:
        known: The wanted tables.
    """

    def __init__(self, known: KnownTables) -> None:
        self._known = known
        self._created: dict[str, tuple[Sequence[str], Collection[str]]] = {}

    def create(self, table: str, columns: Sequence[str], computed: Collection[str]) -> None:
        """Record a table's columns from CREATE TABLE.

        Args:
            table: The table's name in lower case.
            columns: All columns, in order.
            computed: The columns that take no value: identity, computed, row version.
        """
        self._created[table] = columns, computed

    def of(self, table: str, count: int) -> Sequence[str] | None:
        """Return the columns of a row with ``count`` values; ``None`` if not known."""
        if table not in self._created:
            return self._known.columns_of(table, count)
        columns, computed = self._created[table]
        if len(columns) == count:
            return columns
        stored = [column for column in columns if column not in computed]
        return stored if len(stored) == count else None


# INSERT: ``VALUES``, ``SELECT … UNION ALL``, and the uniform rows of SSMS.

# Words that end an INSERT … SELECT, since they begin a new statement.
_STOP = {"PRINT", "END", "IF", "BEGIN"}

_LONGEST_HEADER = 1 << 14
# The usual text after a row of SSMS; the match is empty.
_ROW_ENDS = re.compile(r"(?=\s*+(?:GO|INSERT)\b)")
_NEXT_ROW = re.compile(r"\s*+,\s*+\(")
_MOST_COLUMNS = 300
"""Columns; a pattern for more columns takes longer to compile than the pattern saves."""


@dataclass(slots=True)
class _Target:
    """The target of an INSERT: the table and the listed columns (``None``: all columns in the table's order)."""

    table: str
    shown: str
    columns: list[str] | None
    line: int
    row_pattern: re.Pattern[str] | None = None


class Inserts:
    """Reads INSERT statements.

    Args:
        scanner: The source of tokens.
        expressions: Reads the values.
        tables: The wanted tables.
        statements: Words that begin a statement.

    Attributes:
        columns: The columns of tables, for an INSERT without a column list.
        batch_line: The first line of the batch.
        batch_rows: The number of rows in the batch so far.
    """

    def __init__(
        self,
        scanner: Scanner,
        expressions: Expressions,
        tables: KnownTables,
        statements: Collection[str],
    ) -> None:
        self._scanner = scanner
        self._expressions = expressions
        self._file = scanner.file
        self._statements = statements
        self._again: tuple[re.Pattern[str], _Target] | None = None
        self.columns = TableColumns(tables)
        self.batch_line = 1
        self.batch_rows = 0

    def new_batch(self, line: int) -> None:
        """Start a batch: clear the variables and the row count."""
        self.batch_line, self.batch_rows = line, 0
        self._expressions.variables.clear()

    def alike(self) -> Iterator[Item]:
        """Read further INSERTs with the same header text as the last INSERT; SSMS writes millions of such statements."""
        if self._again is None:
            return
        pattern, target = self._again
        while match := self._scanner.match(pattern):
            if match["go"]:
                self.new_batch(self._scanner.line)
            yield self._one_row(target, self._scanner.line)
            if not self._scanner.match(_ROW_ENDS):
                yield from self._more_rows(target)

    def _remember(self, target: _Target, begun: int) -> None:
        header = self._scanner.text_since(begun)
        if header is None or target.columns is None or len(header) > _LONGEST_HEADER:
            return
        between = r"\s*+(?P<go>(?<=\n)GO[ \t]*+\r?\n\s*+)?"
        self._again = re.compile(between + "INSERT" + re.escape(header), re.IGNORECASE), target

    def read(self, insert: Token) -> Iterator[Item]:
        """Yield the rows of an INSERT, behind its first word; yield a remark if the rows cannot be read."""
        begun = self._scanner.offset
        target = self._target(insert)
        while True:
            word = self._scanner.next()
            if word.upper == "VALUES":
                yield from self._values(target, begun)
                return
            if word.upper == "SELECT":
                yield from self._select_rows(target)
                return
            if word.upper in {"DEFAULT", "EXEC", "EXECUTE"}:
                yield self._unreadable(
                    target, insert.line, f"{word.upper} gives this INSERT its rows: none to read"
                )
                return
            if word.text == "(" and self._scanner.peek().upper == "SELECT":
                continue
            if not self._skip_insert_option(word):
                yield from self._insert_without_rows(target, word)
                return

    def _insert_without_rows(self, target: _Target, word: Token) -> Iterator[Item]:
        if word.kind is Kind.END:
            raise Truncated(self._file, target.line, "an INSERT statement")
        self._scanner.push(word)
        yield self._unreadable(target, target.line, f'no VALUES or SELECT before "{word.text}"')

    def _skip_insert_option(self, word: Token) -> bool:
        """Skip ``WITH (hints)`` or ``OUTPUT inserted.ID INTO @t``; return ``False`` if ``word`` begins neither."""
        if word.upper == "WITH" and self._scanner.peek().text == "(":
            return self._closed(self._scanner.next().line)
        if word.upper == "OUTPUT":
            while self._scanner.peek().upper not in {
                "VALUES",
                "SELECT",
                "EXEC",
                "DEFAULT",
                "EXECUTE",
            }:
                if self._scanner.peek().kind in {Kind.END, Kind.GO}:
                    return False
                self._scanner.next()
            return True
        return False

    def _target(self, insert: Token) -> _Target:
        token = self._scanner.next()
        if token.upper == "TOP" and self._scanner.next().text == "(":
            self._closed(token.line)
            token = self._scanner.next()
        if token.upper == "INTO":
            token = self._scanner.next()
        shown = dotted(self._scanner, token)
        columns = None
        if self._scanner.peek().text == "(":
            bracket = self._scanner.next()
            if self._scanner.peek().upper == "SELECT":
                self._scanner.push(bracket)
            else:
                columns = self._column_list(insert.line)
        return _Target(shown.lower(), shown, columns, insert.line)

    def _column_list(self, line: int) -> list[str]:
        columns = []
        while (token := self._scanner.next()).text != ")" or token.kind is not Kind.OPERATOR:
            if token.kind is Kind.END:
                raise Truncated(self._file, line, "a list of columns")
            if token.kind is not Kind.OPERATOR:
                columns.append(token.text.lower())
        return columns

    def _values(self, target: _Target, begun: int | None = None) -> Iterator[Item]:
        """Read the rows ``(…), (…)``: a usual row by one pattern, any other row token by token."""
        token = self._scanner.next()
        if token.kind is Kind.END:
            raise Truncated(self._file, target.line, "an INSERT statement")
        if token.text != "(":
            self._scanner.push(token)
            yield self._unreadable(target, token.line, f'"{token.text}" stands where a row should')
            return
        if begun is not None:
            self._remember(target, begun)
        yield self._one_row(target, token.line)
        yield from self._more_rows(target)

    def _more_rows(self, target: _Target) -> Iterator[Item]:
        while self._scanner.match(_NEXT_ROW):
            yield self._one_row(target, self._scanner.line)
        while self._scanner.peek().text == "," and self._scanner.peek().kind is Kind.OPERATOR:
            self._scanner.next()
            token = self._scanner.next()
            if token.text != "(":
                if token.kind is Kind.END:
                    raise Truncated(self._file, token.line, "an INSERT statement")
                self._scanner.push(token)
                return
            yield self._one_row(target, token.line)

    def _one_row(self, target: _Target, line: int) -> Item:
        values: list[Value] | str | None = self._usual_row(target)
        if values is None:
            values = self._unusual_row(target, line)
        return self._row(target, values, line)

    def _usual_row(self, target: _Target) -> list[Value] | None:
        if target.columns is None or self._scanner.sqlcmd or len(target.columns) > _MOST_COLUMNS:
            return None
        if target.row_pattern is None:
            target.row_pattern = row_pattern(len(target.columns))
        match = self._scanner.match(target.row_pattern)
        return row_values(match, self._expressions.order) if match else None

    def _unusual_row(self, target: _Target, line: int) -> list[Value] | str:
        """Read a row token by token, past its closing parenthesis; return the values, or the reason as text."""
        values: list[Value] = []
        try:
            while True:
                values.append(self._expressions.read())
                token = self._scanner.next()
                if token.text == ")" and token.kind is Kind.OPERATOR:
                    return values
                if token.text != ",":
                    self._scanner.push(token)
                    return self._give_up(token, target, line)
        except NotAnExpression as error:
            return self._give_up(error.token, target, line)

    def _give_up(self, token: Token, target: _Target, line: int) -> str:
        if token.kind is Kind.END:
            raise Truncated(self._file, line, f"a row of {target.shown}")
        try:
            self._expressions.balanced()
        except NotAnExpression as error:
            if error.token.kind is Kind.END:
                raise Truncated(self._file, line, f"a row of {target.shown}") from None
        return _no_value(token)

    def _row(self, target: _Target, values: list[Value] | str, line: int) -> Item:
        self.batch_rows += 1
        if isinstance(values, str):
            return self._unreadable(target, line, values)
        columns = target.columns or self.columns.of(target.table, len(values))
        if columns is None:
            return self._unreadable(
                target, line, f"{len(values)} values without a list of columns, and no CREATE TABLE"
            )
        if len(columns) != len(values):
            return self._unreadable(
                target, line, f"{len(values)} values for {len(columns)} columns"
            )
        dated = self._expressions.dated(columns, values)
        return Row(target.table, dict(zip(columns, dated, strict=True)), self._file, line)

    # INSERT … SELECT

    def _select_rows(self, target: _Target) -> Iterator[Item]:
        """Read the rows of ``SELECT 1, N'A' UNION ALL SELECT 2, N'B'`` or ``SELECT * FROM (VALUES …) AS v``."""
        while True:
            line = self._scanner.line
            values = self._select_list(target, line)
            after = self._scanner.peek()
            if after.upper == "FROM":
                self._scanner.next()
                yield from self._select_from(target, line)
            else:
                yield self._row(target, values, line)
            if not self._another_select():
                return

    def _select_list(self, target: _Target, line: int) -> list[Value] | str:
        values: list[Value] = []
        try:
            while self._scanner.peek().upper in {"DISTINCT", "ALL", "TOP"}:
                if self._scanner.next().upper == "TOP":
                    self._expressions.read()
            while True:
                values.append(self._star() or self._expressions.read())
                self._skip_alias()
                if self._scanner.peek().text != ",":
                    return values
                self._scanner.next()
        except NotAnExpression as error:
            if error.token.kind is Kind.END:
                raise Truncated(self._file, line, f"a row of {target.shown}") from None
            return _no_value(error.token)

    def _star(self) -> Value:
        if self._scanner.peek().text == "*":
            return Unknown(self._scanner.next().text)
        return None

    def _skip_alias(self) -> None:
        token = self._scanner.peek()
        if token.upper == "AS":
            self._scanner.next()
            self._scanner.next()
        elif token.kind in {Kind.NAME, Kind.QUOTED}:
            self._scanner.next()

    def _select_from(self, target: _Target, line: int) -> Iterator[Item]:
        opening = self._scanner.next()
        if opening.text == "(" and self._scanner.peek().upper == "VALUES":
            self._scanner.next()
            yield from self._values(target)
        else:
            self._scanner.push(opening)
            yield self._unreadable(
                target, line, f"its rows come from {opening.text} in the old database"
            )

    def _another_select(self) -> bool:
        """Skip WHERE and other clauses to the next SELECT of a UNION; return ``False`` at the statement's end."""
        while True:
            token = self._scanner.peek()
            if token.upper in {"UNION", "EXCEPT", "INTERSECT"}:
                self._scanner.next()
                if self._scanner.peek().upper == "ALL":
                    self._scanner.next()
                while self._scanner.peek().text == "(":
                    self._scanner.next()
                return self._scanner.next().upper == "SELECT"
            if token.kind in {Kind.END, Kind.GO, Kind.DIRECTIVE} or token.text == ";":
                return False
            if token.upper in self._statements or token.upper in _STOP:
                return False
            self._scanner.next()
            if token.text == "(" and token.kind is Kind.OPERATOR and not self._closed(token.line):
                return False

    def _closed(self, line: int) -> bool:
        """Skip to the end of a parenthesis opened on ``line``; return ``False`` if the batch ends first."""
        try:
            self._expressions.balanced()
        except NotAnExpression as error:
            if error.token.kind is Kind.END:
                raise Truncated(self._file, line, "a parenthesis") from None
            return False
        return True

    def _unreadable(self, target: _Target, line: int, text: str) -> Remark:
        return Remark(RemarkKind.UNREADABLE, self._file, line, text, target.table)


def _no_value(token: Token) -> str:
    if token.kind is Kind.GO:
        return f"its bracket is still open at the GO on line {token.line}"
    return f'"{token.text}" on line {token.line} is not a value'


# MERGE as ``sp_generate_merge`` writes it: rows in ``VALUES`` or ``SELECT … UNION ALL``.

_Read = tuple[list[Value] | str, int]
"""A row's values, or the reason why the row is unreadable; and the row's line."""


class Merges:
    """Reads MERGE statements.

    Args:
        scanner: The source of tokens.
        expressions: Reads the values.
    """

    def __init__(self, scanner: Scanner, expressions: Expressions) -> None:
        self._scanner = scanner
        self._expressions = expressions
        self._file = scanner.file
        self._inner: list[str] = []
        """The column list of ``VALUES`` in a nested SELECT inside USING."""

    def read(self, line: int, table: str, shown: str) -> Iterator[Item]:
        """Yield the rows of a MERGE, behind its table; yield a remark if the rows are not in the script.

        Args:
            line: The first line of the MERGE.
            table: The table in lower case.
            shown: The table as written.
        """
        scanner = self._scanner
        while not (scanner.peek().upper == "USING" or _ends(scanner.peek())):
            scanner.next()
        rows: list[_Read] = []
        columns: list[str] = []
        if scanner.peek().upper == "USING":
            scanner.next()
            if scanner.peek().text == "(":
                scanner.next()
                rows = self._rows(line)
                columns = self._columns(rows)
        if not rows:
            text = f"MERGE {shown} is not carried out: its rows are not in the script"
            yield Remark(RemarkKind.SKIPPED, self._file, line, text, table)
        for values, place in rows:
            yield self._row(table, columns, values, place)
        yield from self._clauses(table, shown, has_rows=bool(rows))

    def _rows(self, line: int) -> list[_Read]:
        """Read the rows inside USING, past its closing parenthesis."""
        word = self._scanner.peek()
        if word.upper == "VALUES":
            self._scanner.next()
            rows = self._values()
        elif word.upper == "SELECT":
            rows = self._selects()
        else:
            return []
        while rows and self._scanner.peek().text != ")":
            token = self._scanner.next()
            if token.kind is Kind.END:
                raise Truncated(self._file, line, "a MERGE statement")
        if rows:
            self._scanner.next()
        return rows

    def _values(self) -> list[_Read]:
        rows: list[_Read] = []
        while True:
            token = self._scanner.next()
            if token.text != "(" or token.kind is not Kind.OPERATOR:
                self._scanner.push(token)
                return rows
            rows.append((self._list(token.line, ")"), token.line))
            if self._scanner.peek().text != ",":
                return rows
            self._scanner.next()

    def _selects(self) -> list[_Read]:
        rows: list[_Read] = []
        while self._scanner.peek().upper == "SELECT":
            line = self._scanner.next().line
            rows.append((self._list(line, ""), line))
            if self._scanner.peek().upper == "FROM":
                return self._nested()
            if self._scanner.peek().upper != "UNION":
                return rows
            self._scanner.next()
            if self._scanner.peek().upper == "ALL":
                self._scanner.next()
        return rows

    def _nested(self) -> list[_Read]:
        """Read the rows of ``SELECT * FROM (VALUES …) AS v``."""
        self._scanner.next()
        if self._scanner.peek().text != "(":
            return []
        self._scanner.next()
        if self._scanner.peek().upper != "VALUES":
            return []
        self._scanner.next()
        rows = self._values()
        if self._scanner.peek().text == ")":
            self._scanner.next()
            self._inner = self._named()
        return rows

    def _list(self, line: int, closing: str) -> list[Value] | str:
        """Read values up to ``closing``, or with an empty ``closing`` to the end of the list; return them, or the reason as text."""
        values: list[Value] = []
        try:
            while True:
                if self._scanner.peek().text == "*":
                    self._scanner.next()
                    values.append(None)
                else:
                    values.append(self._expressions.read())
                token = self._scanner.peek()
                if not closing and token.upper == "AS":
                    self._scanner.next()
                    self._scanner.next()
                    token = self._scanner.peek()
                elif not closing and token.kind in {Kind.NAME, Kind.QUOTED}:
                    self._scanner.next()
                    token = self._scanner.peek()
                if token.text == "," and token.kind is Kind.OPERATOR:
                    self._scanner.next()
                    continue
                if closing and token.text == closing:
                    self._scanner.next()
                    return values
                if not closing:
                    return values
                return self._given_up(self._scanner.next(), line)
        except NotAnExpression as error:
            return self._given_up(error.token, line)

    def _given_up(self, token: Token, line: int) -> str:
        if token.kind is Kind.END:
            raise Truncated(self._file, line, "a row of a MERGE")
        try:
            self._expressions.balanced()
        except NotAnExpression as error:
            if error.token.kind is Kind.END:
                raise Truncated(self._file, line, "a row of a MERGE") from None
        return f'"{token.text}" on line {token.line} is not a value'

    def _columns(self, rows: list[_Read]) -> list[str]:
        """Read the column names of ``AS [Source] ([ID], [Name])`` behind the rows."""
        named = self._named() if rows else []
        columns, self._inner = named or self._inner, []
        return columns

    def _named(self) -> list[str]:
        if self._scanner.peek().upper == "AS":
            self._scanner.next()
        if self._scanner.peek().kind in {Kind.NAME, Kind.WORD}:
            if self._scanner.peek().upper == "ON":
                return []
            self._scanner.next()
        if self._scanner.peek().text != "(":
            return []
        self._scanner.next()
        columns = []
        while (token := self._scanner.next()).text != ")" or token.kind is not Kind.OPERATOR:
            if token.kind is Kind.END:
                raise Truncated(self._file, token.line, "a list of columns")
            if token.kind is not Kind.OPERATOR:
                columns.append(token.text.lower())
        return columns

    def _row(self, table: str, columns: list[str], values: list[Value] | str, line: int) -> Item:
        if isinstance(values, str):
            return Remark(RemarkKind.UNREADABLE, self._file, line, values, table)
        if len(columns) != len(values):
            text = f"{len(values)} values for {len(columns)} columns"
            return Remark(RemarkKind.UNREADABLE, self._file, line, text, table)
        dated = self._expressions.dated(columns, values)
        return Row(table, dict(zip(columns, dated, strict=True)), self._file, line)

    def _clauses(self, table: str, shown: str, *, has_rows: bool) -> Iterator[Item]:
        """Skip the clauses of a MERGE up to its ``;``; yield a warning for a DELETE, which would remove rows not in the script."""
        deletes = None
        while (token := self._scanner.next()).text != ";" or token.kind is not Kind.OPERATOR:
            if token.kind in {Kind.GO, Kind.END}:
                self._scanner.push(token)
                break
            if token.upper == "DELETE":
                deletes = token.line
        if has_rows and deletes:
            text = f"MERGE {shown} removes rows that it does not name: not carried out"
            yield Remark(RemarkKind.WARNING, self._file, deletes, text, table)


def _ends(token: Token) -> bool:
    return token.kind in {Kind.END, Kind.GO} or token.text == ";"
