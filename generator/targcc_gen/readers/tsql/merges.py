"""MERGE as ``sp_generate_merge`` writes it: its rows are data, in ``VALUES`` or in ``SELECT … UNION ALL``."""

from __future__ import annotations

from collections.abc import Iterator

from targcc_gen.readers.rows import Item, Remark, RemarkKind, Row, Value
from targcc_gen.readers.text import Truncated
from targcc_gen.readers.tsql.expressions import Expressions, NotAnExpression
from targcc_gen.readers.tsql.scanner import Kind, Scanner, Token

_Read = tuple[list[Value] | str, int]
"""A row's values, or why they cannot be read; and its line."""


class Merges:
    """Reads MERGE statements.

    Args:
        scanner: Where from.
        expressions: Reads their values.
    """

    def __init__(self, scanner: Scanner, expressions: Expressions) -> None:
        self._scanner = scanner
        self._expressions = expressions
        self._file = scanner.file
        self._inner: list[str] = []
        """The columns that stand behind the rows inside of USING."""

    def read(self, line: int, table: str, shown: str) -> Iterator[Item]:
        """The rows of a MERGE whose table has been read; a remark if it takes them from elsewhere.

        Args:
            line: Where it begins.
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
        """Rows up to the parenthesis that closes USING, which is stepped over."""
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
        """``SELECT * FROM (VALUES …) AS v``."""
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
        """Values up to a closing parenthesis, or with none up to the next keyword."""
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
        """``AS [Source] ([ID], [Name])`` behind the rows."""
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
        """MERGE must end with ``;``; its INSERT and UPDATE are clauses, its DELETE would remove rows that are not in it."""
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
