"""Rows of a T-SQL data script.

T-SQL needs no ``;`` between statements and ``GO`` is no SQL, so a general parser loses rows in silence. This reader knows where a
statement begins (its first word is reserved) and reads what gives rows; everything else it steps over by name or reports. Each
INSERT ends as rows or as a remark with its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from targcc_gen.legacy.expressions import Expressions, NotAnExpression, binary, number
from targcc_gen.legacy.literals import convert
from targcc_gen.legacy.rows import Item, Remark, RemarkKind, Row, Unknown, Value
from targcc_gen.legacy.scanner import Kind, Scanner, Token, Truncated, unquote
from targcc_gen.legacy.shapes import TABLES, known_columns

_CHANGES = {"UPDATE", "DELETE", "MERGE", "TRUNCATE"}
_ROUTINES = {"PROC", "PROCEDURE", "TRIGGER", "FUNCTION", "VIEW"}
_PERMISSIONS = {"GRANT", "DENY", "REVOKE"}
# Before UPDATE or DELETE, these say that the word is no statement: ON DELETE CASCADE, FOR UPDATE, AFTER INSERT, …
_NO_STATEMENT_AFTER = {"ON", "FOR", "OF", "AFTER", "INSTEAD", "BULK", ","}

_VALUE = (
    r"(NULL|[Nn]?'(?:[^']++|'')*+'|-?\d++(?:\.\d++)?"
    r"|CAST\((?:[Nn]?'[^']*+'|0x[0-9A-Fa-f]++) AS \w++(?:\(\d++\))?\))"
)
_CAST = re.compile(r"CAST\((?:[Nn]?'([^']*+)'|(0x[0-9A-Fa-f]++)) AS (\w++)(?:\(\d++\))?\)")
_LONGEST_HEADER = 1 << 14
_NEXT_ROW = re.compile(r"\s*+,\s*+\(")


@dataclass(slots=True)
class _Target:
    """Where an INSERT puts its rows: the table and the columns it names (None: all, in the table's order)."""

    table: str
    shown: str
    columns: list[str] | None
    line: int
    row_pattern: re.Pattern[str] | None = None


def read_tsql(chunks: Iterator[str], file: str) -> Iterator[Item]:
    """Every row of a script, and a remark for everything that changes data in another way.

    Args:
        chunks: The text in pieces.
        file: The file's name, for places.

    Raises:
        Truncated: The script ends inside a string, a comment or a row.
    """
    return _Script(Scanner(chunks, file), file).items()


class _Script:
    """One script: the tables it creates, its variables, and the walk over its statements."""

    def __init__(self, scanner: Scanner, file: str) -> None:
        self._scanner = scanner
        self._file = file
        self._expressions = Expressions(scanner)
        self._created: dict[str, list[str]] = {}
        self._computed: dict[str, set[str]] = {}
        self._batch_line = 1
        self._batch_rows = 0
        self._previous = ""
        self._again: tuple[re.Pattern[str], _Target] | None = None
        self._statements: dict[str, Callable[[Token], Iterator[Item]]] = {
            "INSERT": self._insert,
            "CREATE": self._create,
            "ALTER": self._create,
            "DECLARE": self._declare,
            "SET": self._set,
            "SELECT": self._select,
            "EXEC": self._execute,
            "EXECUTE": self._execute,
            **dict.fromkeys(_CHANGES, self._change),
            **dict.fromkeys(_PERMISSIONS, self._permission),
        }

    def items(self) -> Iterator[Item]:
        """Rows and remarks in the order of the script."""
        while True:
            if self._again is not None:
                yield from self._same_inserts(*self._again)
            token = self._scanner.next()
            if token.kind is Kind.END:
                return
            if token.kind is Kind.GO:
                yield from self._end_batch(token)
            elif token.kind is Kind.DIRECTIVE:
                yield from self._directive(token)
            elif token.upper in self._statements and self._previous not in _NO_STATEMENT_AFTER:
                self._previous = ""
                yield from self._statements[token.upper](token)
                continue
            elif token.upper == "INSERT" and self._previous == "BULK":
                yield self._remark(RemarkKind.SKIPPED, token.line, "BULK INSERT: give the data file itself")
            self._previous = token.upper or token.text

    # Batches and lines for sqlcmd

    def _end_batch(self, go: Token) -> Iterator[Item]:
        if go.text and int(go.text) > 1 and self._batch_rows:
            yield self._remark(
                RemarkKind.WARNING,
                go.line,
                f"GO {go.text} repeats the batch of line {self._batch_line}; its rows were taken once",
            )
        self._new_batch(go.line + 1)

    def _new_batch(self, line: int) -> None:
        self._batch_line, self._batch_rows = line, 0
        self._expressions.variables.clear()

    def _directive(self, token: Token) -> Iterator[Item]:
        words = token.text.strip().split(None, 2)
        if words[0].lower() == ":setvar" and len(words) > 2:  # noqa: PLR2004 - name and value follow
            self._scanner.sqlcmd[words[1].lower()] = words[2].strip().strip('"')
        elif words[0].lower() == ":r" and len(words) > 1:
            text = f"{' '.join(words[1:])} is included here; give that file too"
            yield self._remark(RemarkKind.WARNING, token.line, text)

    # INSERT

    def _same_inserts(self, pattern: re.Pattern[str], target: _Target) -> Iterator[Item]:
        """INSERTs that begin letter by letter as the last one did: SSMS writes them by the million."""
        while found := self._scanner.match(pattern):
            if found["go"]:
                self._new_batch(self._scanner.line)
            yield self._one_row(target, self._scanner.line)
            yield from self._more_rows(target)

    def _remember(self, target: _Target, begun: int) -> None:
        header = self._scanner.text_since(begun)
        if header is None or target.columns is None or len(header) > _LONGEST_HEADER:
            return
        between = r"\s*+(?P<go>(?<=\n)GO[ \t]*+\r?\n\s*+)?"
        self._again = re.compile(between + "INSERT" + re.escape(header), re.IGNORECASE), target

    def _insert(self, token: Token) -> Iterator[Item]:
        begun = self._scanner.offset
        target = self._target(token)
        while True:
            word = self._scanner.next()
            if word.upper == "VALUES":
                yield from self._values(target, begun)
                return
            if word.upper == "SELECT":
                yield from self._select_rows(target)
                return
            if word.upper in {"DEFAULT", "EXEC", "EXECUTE"}:
                yield self._unreadable(target, token.line, f"INSERT … {word.upper} has no values to read")
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
        """Step over ``WITH (hints)`` and ``OUTPUT inserted.ID INTO @t``; False if ``word`` is neither."""
        if word.upper == "WITH" and self._scanner.peek().text == "(":
            self._scanner.next()
            self._balanced()
            return True
        if word.upper == "OUTPUT":
            while self._scanner.peek().upper not in {"VALUES", "SELECT", "EXEC", "DEFAULT", "EXECUTE"}:
                if self._scanner.peek().kind in {Kind.END, Kind.GO}:
                    return False
                self._scanner.next()
            return True
        return False

    def _target(self, insert: Token) -> _Target:
        token = self._scanner.next()
        if token.upper == "TOP" and self._scanner.next().text == "(":
            self._balanced()
            token = self._scanner.next()
        if token.upper == "INTO":
            token = self._scanner.next()
        shown = self._dotted(token)
        columns = None
        if self._scanner.peek().text == "(":
            bracket = self._scanner.next()
            if self._scanner.peek().upper == "SELECT":
                self._scanner.push(bracket)
            else:
                columns = self._column_list(insert.line)
        return _Target(shown.lower(), shown, columns, insert.line)

    def _dotted(self, token: Token) -> str:
        """The last part of ``db.schema.name`` (or ``db..name``)."""
        name = token.text
        while self._scanner.peek().text == "." and self._scanner.peek().kind is Kind.OPERATOR:
            self._scanner.next()
            if self._scanner.peek().text != ".":
                name = self._scanner.next().text
        return name

    def _column_list(self, line: int) -> list[str]:
        columns = []
        while (token := self._scanner.next()).text != ")" or token.kind is not Kind.OPERATOR:
            if token.kind is Kind.END:
                raise Truncated(self._file, line, "a list of columns")
            if token.kind is not Kind.OPERATOR:
                columns.append(token.text.lower())
        return columns

    def _values(self, target: _Target, begun: int | None = None) -> Iterator[Item]:
        """``(…), (…)``: a row in the usual form by one pattern, any other token by token."""
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
        if target.columns is None:
            return None
        if target.row_pattern is None:
            target.row_pattern = _row_pattern(len(target.columns))
        found = self._scanner.match(target.row_pattern)
        return [_literal(raw) for raw in found.groups()] if found else None

    def _unusual_row(self, target: _Target, line: int) -> list[Value] | str:
        """The values, or in words why they cannot be read; always past the row's closing parenthesis."""
        values: list[Value] = []
        try:
            while True:
                values.append(self._expressions.read())
                token = self._scanner.next()
                if token.text == ")" and token.kind is Kind.OPERATOR:
                    return values
                if token.text != ",":
                    self._scanner.push(token)
                    raise NotAnExpression(token)
        except NotAnExpression as error:
            return self._give_up(error.token, target, line)

    def _give_up(self, token: Token, target: _Target, line: int) -> str:
        if token.kind is Kind.END:
            raise Truncated(self._file, line, f"a row of {target.shown}")
        try:
            self._balanced()
        except NotAnExpression as error:
            if error.token.kind is Kind.END:
                raise Truncated(self._file, line, f"a row of {target.shown}") from None
        return f'"{token.text}" on line {token.line} is not a value'

    def _row(self, target: _Target, values: list[Value] | str, line: int) -> Item:
        self._batch_rows += 1
        if isinstance(values, str):
            return self._unreadable(target, line, values)
        columns = target.columns or self._columns_of(target.table, len(values))
        if columns is None:
            return self._unreadable(
                target, line, f"{len(values)} values without a list of columns, and no CREATE TABLE"
            )
        if len(columns) != len(values):
            return self._unreadable(target, line, f"{len(values)} values for {len(columns)} columns")
        return Row(target.table, dict(zip(columns, values, strict=True)), self._file, line)

    def _columns_of(self, table: str, count: int) -> list[str] | None:
        created = self._created.get(table)
        if created is None:
            return known_columns(table, count)
        if len(created) == count:
            return created
        stored = [column for column in created if column not in self._computed[table]]
        return stored if len(stored) == count else None

    # INSERT … SELECT

    def _select_rows(self, target: _Target) -> Iterator[Item]:
        """``SELECT 1, N'A' UNION ALL SELECT 2, N'B'``, or ``SELECT * FROM (VALUES …) AS v``."""
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
        while self._scanner.peek().upper in {"DISTINCT", "ALL", "TOP"}:
            if self._scanner.next().upper == "TOP":
                self._expressions.read()
        try:
            while True:
                values.append(self._star() or self._expressions.read())
                self._skip_alias()
                if self._scanner.peek().text != ",":
                    return values
                self._scanner.next()
        except NotAnExpression as error:
            if error.token.kind is Kind.END:
                raise Truncated(self._file, line, f"a row of {target.shown}") from None
            return f'"{error.token.text}" on line {error.token.line} is not a value'

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
            yield self._unreadable(target, line, f"its rows come from {opening.text} in the old database")

    def _another_select(self) -> bool:
        """Step over WHERE and the like to the next SELECT of a UNION; False at the statement's end."""
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
            if token.upper in self._statements or token.upper in {"PRINT", "END", "IF", "BEGIN"}:
                return False
            self._scanner.next()
            if token.text == "(" and token.kind is Kind.OPERATOR:
                self._balanced()

    # Everything else

    def _create(self, token: Token) -> Iterator[Item]:
        kind = self._scanner.peek()
        if kind.upper in {"OR", "ALTER"}:
            self._scanner.next()
            kind = self._scanner.peek()
        if kind.upper in _ROUTINES:
            yield from self._skip_routine(token)
        elif kind.upper == "TABLE" and token.upper == "CREATE":
            self._scanner.next()
            table = self._dotted(self._scanner.next()).lower()
            if self._scanner.peek().text == "(":
                self._scanner.next()
                self._create_columns(table)

    def _skip_routine(self, begun: Token) -> Iterator[Item]:
        """A procedure's or trigger's body is the rest of its batch: an INSERT in it is no data."""
        what = self._scanner.peek().text.upper()
        while (token := self._scanner.next()).kind not in {Kind.GO, Kind.END}:
            if token.upper == "INSERT":
                following = self._scanner.peek()
                if following.upper == "INTO" or following.text.lower() in TABLES:
                    text = f"INSERT in the body of {begun.text} {what} (line {begun.line}) is code, not data"
                    yield self._remark(RemarkKind.SKIPPED, token.line, text)
        self._scanner.push(token)

    def _create_columns(self, table: str) -> None:
        columns: list[str] = []
        computed: set[str] = set()
        begins, depth, name = True, 1, ""
        while depth:
            token = self._scanner.next()
            if token.kind in {Kind.END, Kind.GO}:
                self._scanner.push(token)
                return
            if token.kind is Kind.OPERATOR:
                depth += {"(": 1, ")": -1}.get(token.text, 0)
                begins = token.text == "," and depth == 1
                continue
            if begins:
                name = _column_name(token)
                columns += [name] if name else []
            elif depth == 1 and token.upper in {"AS", "IDENTITY", "ROWVERSION", "TIMESTAMP"}:
                computed.add(name)
            begins = False
        self._created[table], self._computed[table] = columns, computed

    def _declare(self, _: Token) -> Iterator[Item]:
        yield from ()
        while (token := self._scanner.next()).kind is Kind.VARIABLE:
            value: Value = Unknown(token.text)
            depth = 0
            while (part := self._scanner.peek()).kind not in {Kind.END, Kind.GO}:
                if depth == 0 and part.text == "=":
                    self._scanner.next()
                    value = self._value_or_unknown(token)
                    break
                if depth == 0 and (part.text in {",", ";"} or part.upper in self._statements):
                    break
                depth += {"(": 1, ")": -1}.get(part.text, 0)
                self._scanner.next()
            self._expressions.variables[token.text.lower()] = value
            if self._scanner.peek().text != ",":
                return
            self._scanner.next()
        self._scanner.push(token)

    def _value_or_unknown(self, token: Token) -> Value:
        try:
            return self._expressions.read()
        except NotAnExpression:
            return Unknown(token.text)

    def _set(self, _: Token) -> Iterator[Item]:
        yield from ()
        token = self._scanner.next()
        if token.kind is Kind.VARIABLE:
            self._assign(token)
        elif token.upper == "DATEFORMAT":
            self._expressions.order = self._scanner.next().text.lower()
        else:
            self._scanner.push(token)

    def _select(self, _: Token) -> Iterator[Item]:
        yield from ()
        while self._scanner.peek().kind is Kind.VARIABLE:
            self._assign(self._scanner.next())
            if self._scanner.peek().text != ",":
                return
            self._scanner.next()

    def _assign(self, token: Token) -> None:
        if self._scanner.peek().text == "=":
            self._scanner.next()
            value = self._value_or_unknown(token)
            if self._scanner.peek().upper == "FROM":
                value = Unknown(token.text)
            self._expressions.variables[token.text.lower()] = value
        else:
            self._expressions.variables.pop(token.text.lower(), None)

    def _execute(self, token: Token) -> Iterator[Item]:
        """A script in a string is not read; say so if it would have given rows."""
        for _ in range(4):
            part = self._scanner.peek()
            if part.kind is Kind.STRING and re.search(r"\bINSERT\b", part.text, re.IGNORECASE):
                yield self._remark(RemarkKind.SKIPPED, token.line, "EXEC of a text that inserts rows")
            if part.kind not in {Kind.STRING, Kind.WORD, Kind.NAME} and part.text not in {"(", "."}:
                return
            if part.upper in self._statements:
                return
            self._scanner.next()

    def _change(self, token: Token) -> Iterator[Item]:
        target = self._scanner.next()
        while target.upper in {"FROM", "INTO", "TABLE", "TOP"} or target.text in {"(", ")"}:
            target = self._scanner.next()
        if target.kind not in {Kind.WORD, Kind.NAME} or target.text == "STATISTICS":
            self._scanner.push(target)
            return
        name = self._dotted(target)
        text = f"{token.upper} {name} is not carried out; the rows are taken as inserted"
        yield self._remark(RemarkKind.SKIPPED, token.line, text, name.lower())
        if token.upper == "MERGE":
            self._skip_merge()
        elif token.upper == "UPDATE" and self._scanner.peek().upper == "SET":
            self._scanner.next()

    def _skip_merge(self) -> None:
        """MERGE is the one statement that must end with ``;``; its INSERT and UPDATE are clauses."""
        while (token := self._scanner.next()).text != ";" or token.kind is not Kind.OPERATOR:
            if token.kind in {Kind.GO, Kind.END}:
                self._scanner.push(token)
                return

    def _permission(self, _: Token) -> Iterator[Item]:
        yield from ()
        while self._scanner.peek().kind is Kind.WORD and self._scanner.peek().upper != "ON":
            self._scanner.next()
            if self._scanner.peek().text == ",":
                self._scanner.next()

    def _balanced(self) -> None:
        self._expressions.balanced()

    def _unreadable(self, target: _Target, line: int, text: str) -> Remark:
        return self._remark(RemarkKind.UNREADABLE, line, text, target.table)

    def _remark(self, kind: RemarkKind, line: int, text: str, table: str = "") -> Remark:
        return Remark(kind, self._file, line, text, table)


def _column_name(token: Token) -> str:
    constraints = {"CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "INDEX", "PERIOD"}
    return "" if token.upper in constraints else token.text.lower()


def _row_pattern(count: int) -> re.Pattern[str]:
    return re.compile(r"\s*+" + r"\s*+,\s*+".join([_VALUE] * count) + r"\s*+\)", re.IGNORECASE)


def _literal(raw: str) -> Value:
    """The value of a literal that ``_VALUE`` has matched."""
    first = raw[0]
    if first in "'Nn":
        return unquote(raw) if raw[-1] == "'" else None
    if first in "Cc":
        return _cast(raw)
    return number(raw)


def _cast(raw: str) -> Value:
    found = _CAST.fullmatch(raw) or re.fullmatch(_CAST.pattern, raw, re.IGNORECASE)
    assert found is not None
    inner: Value = found[1] if found[1] is not None else binary(found[2])
    return convert(inner, found[3])
