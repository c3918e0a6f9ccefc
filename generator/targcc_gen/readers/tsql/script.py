"""Read the rows of a T-SQL data script.

T-SQL needs no ``;`` between statements and ``GO`` is not SQL, so a general SQL parser silently loses rows. This reader recognises a
statement by its reserved first word, reads the statements that give rows, and skips or reports the rest. Each INSERT ends as rows or
as a remark with its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from targcc_gen.readers.rows import Item, KnownTables, Remark, RemarkKind, Unknown, Value
from targcc_gen.readers.tsql.expressions import Expressions, NotAnExpression
from targcc_gen.readers.tsql.routines import read_routine
from targcc_gen.readers.tsql.scanner import Kind, Scanner, Token, dotted
from targcc_gen.readers.tsql.statements import Inserts, Merges

# The beginning of a cut script: the rest of a statement whose start is missing.

_STATEMENTS = (
    "ADD ALTER BACKUP BEGIN BULK CHECKPOINT CLOSE COMMIT CREATE DBCC DEALLOCATE DECLARE DELETE DENY DISABLE DROP ELSE"
    " ENABLE END EXEC EXECUTE FETCH GO GOTO GRANT IF INSERT KILL MERGE OPEN PRINT RAISERROR RECONFIGURE RESTORE RETURN"
    " REVOKE ROLLBACK SAVE SELECT SET THROW TRUNCATE UPDATE USE WAITFOR WHILE WITH"
)
_WORDS = "|".join(_STATEMENTS.split())
_BLANK = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/|;)*", re.DOTALL)
_GOOD = re.compile(rf"(?:(?:{_WORDS})\b|:|!!|/\*|--|\(\s*SELECT\b|(?:sp|xp)_\w+)", re.IGNORECASE)
_NEXT = re.compile(
    r"^[ \t]*(?:GO[ \t]*\r?$|(?:INSERT|SET|USE|CREATE|ALTER|MERGE|DECLARE|UPDATE|DELETE|IF|BEGIN|PRINT|EXEC)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_INSERT_NEXT = re.compile(
    r"\s*(?:GO\s+)*INSERT\s+(?:INTO\s+)?(?:\[?\w+\]?\.)*\[?(\w+)\]?", re.IGNORECASE
)
_HEAD = 1 << 16
_MOST = 1 << 20
_MARGIN = 200
"""Text needed behind a word to be sure of the word."""
_SHOWN = 60


class Cut:
    """The partial statement before the first whole statement of a script.

    Attributes:
        shown: The first characters.
        last_line: The last line of the partial statement.
        table: The table of the next INSERT, in lower case: the likely table of the partial statement; empty without a next INSERT.
    """

    def __init__(self, text: str, table: str) -> None:
        self.shown = " ".join(text.split())[:_SHOWN]
        self.last_line = text.count("\n") or 1
        self.table = table


def whole_statements(chunks: Iterator[str]) -> tuple[Iterator[str], Cut | None]:
    """Return the script from its first whole statement on, and the cut statement before, ``None`` if nothing was cut.

    Empty lines replace the cut statement, so that line numbers stay.

    Args:
        chunks: The script in pieces.
    """
    head = ""
    for chunk in chunks:
        head += chunk
        if len(head) > _HEAD and (len(head) > _MOST or _is_clear(head)):
            break
    start = _begins(head)
    if start >= len(head) or _GOOD.match(head, start):
        return _joined(head, chunks), None
    match = _NEXT.search(head, start)
    if match is None:
        return _joined(head, chunks), None
    cut, rest = head[: match.start()], head[match.start() :]
    insert = _INSERT_NEXT.match(rest)
    return _joined("\n" * cut.count("\n") + rest, chunks), Cut(
        cut[start:], insert[1].lower() if insert else ""
    )


def _is_clear(head: str) -> bool:
    """Whether the text suffices to find the first whole statement."""
    start = _begins(head)
    match = _GOOD.match(head, start) or _NEXT.search(head, start)
    return match is not None and match.end() < len(head) - _MARGIN


def _begins(text: str) -> int:
    """Return the position of the first word, behind blanks and comments."""
    match = _BLANK.match(text)
    assert match is not None
    return match.end()


def _joined(head: str, chunks: Iterator[str]) -> Iterator[str]:
    if head:
        yield head
    yield from chunks


# UPDATE and DELETE: reported with the affected rows, not executed.

_LONGEST = 400
_ENDS = {
    "INSERT", "CREATE", "ALTER", "DECLARE", "UPDATE", "DELETE", "MERGE", "EXEC", "EXECUTE", "PRINT", "IF", "SELECT", "SET",
    "USE", "BEGIN", "WITH",
}  # fmt: skip


class Changing:
    """The content of an UPDATE or DELETE.

    Attributes:
        columns: The columns set, as written.
        where: The column of the condition, in lower case, and its values; ``None`` for a complex condition.
        condition: The text behind WHERE.
    """

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.where: tuple[str, tuple[str, ...]] | None = None
        self.condition = ""


def read_change(scanner: Scanner) -> Changing:
    """Read an UPDATE or DELETE from behind the table's name to the statement's end.

    Args:
        scanner: The scanner, behind the table's name.
    """
    change = Changing()
    if scanner.peek().upper == "SET":
        scanner.next()
        _read_set(scanner, change)
    if scanner.peek().upper == "WHERE":
        scanner.next()
        tokens = list(_tokens(scanner))
        change.condition = " ".join(_shown(token) for token in tokens)
        change.where = _simple(tokens)
    return change


def _read_set(scanner: Scanner, change: Changing) -> None:
    depth, begins = 0, True
    for _ in range(_LONGEST):
        token = scanner.peek()
        if depth <= 0 and (token.upper in {"WHERE", "FROM"} or _is_end(token)):
            return
        scanner.next()
        if begins and token.kind in {Kind.NAME, Kind.WORD} and scanner.peek().text == "=":
            change.columns.append(token.text)
        begins = depth == 0 and token.text in {",", "."}
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind is Kind.OPERATOR else 0


def _tokens(scanner: Scanner) -> list[Token]:
    tokens: list[Token] = []
    while len(tokens) < _LONGEST and not _is_end(scanner.peek()):
        tokens.append(scanner.next())
    return tokens


def _is_end(token: Token) -> bool:
    ends = token.kind in {Kind.END, Kind.GO, Kind.DIRECTIVE} or token.text == ";"
    return ends or token.upper in _ENDS


def _simple(tokens: list[Token]) -> tuple[str, tuple[str, ...]] | None:
    """Return column and values of ``[ID] = 7`` or ``ID IN (7, 8)``, also in parentheses; ``None`` for other conditions."""
    words = [
        token
        for token in tokens
        if token.text not in {"(", ")", ","} or token.kind is not Kind.OPERATOR
    ]
    names = {Kind.NAME, Kind.WORD}
    while len(words) > 2 and words[1].text == ".":  # noqa: PLR2004 - a table's alias and its dot
        words = words[2:]
    if len(words) < 3 or words[0].kind not in names:  # noqa: PLR2004 - column, sign, value
        return None
    values = words[2:]
    if not (words[1].text == "=" or words[1].upper == "IN"):
        return None
    if not all(value.kind in {Kind.NUMBER, Kind.STRING} for value in values):
        return None
    return words[0].text.lower(), tuple(value.text for value in values)


def _shown(token: Token) -> str:
    return f"'{token.text}'" if token.kind is Kind.STRING else token.text


# Dates of a session: ``SET DATEFORMAT``, and the order that ``SET LANGUAGE`` implies.

_ORDERS = {"mdy", "dmy", "ymd", "ydm", "myd", "dym"}
# Names and aliases of sys.syslanguages, by their dateformat.
_LANGUAGES = {
    "mdy": ("us_english", "english"),
    "ymd": (
        "日本語", "japanese", "svenska", "swedish", "magyar", "hungarian", "hrvatski", "croatian", "latviešu", "latvian",
        "lietuvių", "lithuanian", "繁體中文", "traditional chinese", "한국어", "korean", "简体中文", "simplified chinese",
    ),
    "dmy": (
        "deutsch", "german", "français", "french", "dansk", "danish", "español", "spanish", "italiano", "italian", "nederlands",
        "dutch", "norsk", "norwegian", "português", "portuguese", "suomi", "finnish", "čeština", "czech", "polski", "polish",
        "română", "romanian", "slovenčina", "slovak", "slovenski", "slovenian", "ελληνικά", "greek", "български", "bulgarian",
        "русский", "russian", "türkçe", "turkish", "british", "british english", "eesti", "estonian", "português (brasil)",
        "brazilian", "arabic", "ไทย", "thai",
    ),
}  # fmt: skip
_ORDER_OF = {name: order for order, names in _LANGUAGES.items() for name in names}


def session_order(name: str) -> str | None:
    """Return the order of ``SET DATEFORMAT name``; ``None`` for an invalid order."""
    order = name.strip().lower()
    return order if order in _ORDERS else None


def language_order(name: str) -> str | None:
    """Return the date order of a language of SQL Server; ``None`` for an unknown language."""
    return _ORDER_OF.get(name.strip().casefold())


# The walk over a script.

_CHANGES = {"UPDATE", "DELETE", "MERGE", "TRUNCATE"}
_ROUTINES = {"PROC", "PROCEDURE", "TRIGGER", "FUNCTION", "VIEW"}
_PERMISSIONS = {"GRANT", "DENY", "REVOKE"}
# After these words, a keyword begins no statement: ON DELETE CASCADE, FOR UPDATE, AFTER INSERT, UPDATE, …
_NO_STATEMENT_AFTER = {"FOR", "OF", "AFTER", "BULK", ","}
_LONGEST_SET = 6
_LONGEST_SHOWN = 120


def read_tsql(chunks: Iterator[str], file: str, tables: KnownTables) -> Iterator[Item]:
    """Yield every row of a script, and a remark for each other statement that changes data.

    Args:
        chunks: The text in pieces.
        file: The file's name, for places.
        tables: The wanted tables; rows of other tables are yielded too.

    Raises:
        Truncated: The script ends inside a string, a comment or a row.
    """
    whole, cut = whole_statements(chunks)
    if cut is not None:
        yield _lost(cut, file, tables)
    yield from _Script(Scanner(whole, file), file, tables).items()


def _lost(cut: Cut, file: str, tables: KnownTables) -> Remark:
    """Build the remark for a cut statement; if a row of a wanted table follows, the cut statement counts as a row of that table."""
    text = (
        f'the file begins in the middle of a statement ("{cut.shown}"), so a tool has cut it: this row is lost up to line'
        f" {cut.last_line}, and so is whatever stood before it"
    )
    kind = RemarkKind.UNREADABLE if cut.table in tables else RemarkKind.WARNING
    return Remark(kind, file, 1, text, cut.table if cut.table in tables else "")


class _Script:
    """Walks over the statements of a script and keeps created tables, variables and settings."""

    def __init__(self, scanner: Scanner, file: str, tables: KnownTables) -> None:
        self._scanner = scanner
        self._file = file
        self._tables = tables
        self._expressions = Expressions(scanner, tables.dates)
        self._previous = ""
        self._identity_on: dict[str, None] = {}
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
        self._merges = Merges(scanner, self._expressions)
        self._inserts = Inserts(scanner, self._expressions, tables, self._statements)

    def items(self) -> Iterator[Item]:
        """Yield rows and remarks in the order of the script."""
        while True:
            yield from self._inserts.alike()
            token = self._scanner.next()
            if token.kind is Kind.END:
                yield from self._end(token)
                return
            if token.kind is Kind.GO:
                yield from self._end_batch(token)
            elif token.kind is Kind.DIRECTIVE:
                yield from self._directive(token)
            elif token.upper in self._statements and not self._is_clause(token):
                self._previous = ""
                yield from self._statements[token.upper](token)
                continue
            elif token.upper == "INSERT" and self._previous == "BULK":
                yield self._remark(
                    RemarkKind.SKIPPED, token.line, "BULK INSERT: give the data file itself"
                )
            self._previous = token.upper or token.text

    def _is_clause(self, token: Token) -> bool:
        """Whether the keyword belongs to another statement, such as ON DELETE CASCADE."""
        if self._previous == "ON":
            return token.upper in {"UPDATE", "DELETE"}
        return self._previous in _NO_STATEMENT_AFTER

    def _end(self, token: Token) -> Iterator[Item]:
        """Yield a warning for each table with IDENTITY_INSERT still on: SSMS switches it off last, so rows may be cut off."""
        for table in self._identity_on:
            text = (
                f"SET IDENTITY_INSERT {table} OFF is missing at the end: the script may be cut off"
            )
            yield self._remark(RemarkKind.WARNING, token.line, text, table.lower())

    # Batches and sqlcmd lines

    def _end_batch(self, go: Token) -> Iterator[Item]:
        if int(go.text or 1) > 1 and self._inserts.batch_rows:
            yield self._remark(
                RemarkKind.WARNING,
                go.line,
                f"GO {go.text} repeats the batch of line {self._inserts.batch_line}; its rows were taken once",
            )
        self._inserts.new_batch(go.line + 1)

    def _directive(self, token: Token) -> Iterator[Item]:
        words = token.text.strip().split(None, 2)
        if words[0].lower() == ":setvar" and words[2:]:
            self._scanner.sqlcmd[words[1].lower()] = words[2].strip().strip('"')
        elif words[0].lower() == ":r" and words[1:]:
            text = f"{' '.join(words[1:])} is included here; give that file too"
            yield self._remark(RemarkKind.WARNING, token.line, text)

    # Statements

    def _insert(self, token: Token) -> Iterator[Item]:
        return self._inserts.read(token)

    def _create(self, token: Token) -> Iterator[Item]:
        kind = self._scanner.peek()
        if kind.upper in {"OR", "ALTER"}:
            self._scanner.next()
            kind = self._scanner.peek()
        if kind.upper in _ROUTINES:
            yield from read_routine(self._scanner, token, self._tables)
        elif kind.upper == "TABLE" and token.upper == "CREATE":
            self._scanner.next()
            table = dotted(self._scanner, self._scanner.next()).lower()
            if self._scanner.peek().text == "(":
                self._scanner.next()
                self._create_columns(table)

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
        self._inserts.columns.create(table, columns, computed)

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
        elif token.upper == "IDENTITY_INSERT":
            table = dotted(self._scanner, self._scanner.next())
            if self._scanner.peek().upper == "ON":
                self._identity_on[table] = None
            else:
                self._identity_on.pop(table, None)
        elif token.upper == "DATEFORMAT":
            self._expressions.order = session_order(self._setting())
        elif token.upper == "LANGUAGE":
            self._expressions.order = language_order(self._setting())
        else:
            self._scanner.push(token)
            self._skip_option()

    def _setting(self) -> str:
        """Return the value of a setting in SET; empty for a value that only the server knows."""
        token = self._scanner.next()
        if token.kind is Kind.VARIABLE:
            value = self._expressions.variables.get(token.text.lower())
            return value if isinstance(value, str) else ""
        return token.text

    def _skip_option(self) -> None:
        """Skip an option such as ``NOCOUNT ON`` or ``STATISTICS IO ON``, up to ON, OFF or the next statement."""
        for _ in range(_LONGEST_SET):
            token = self._scanner.peek()
            if token.upper in self._statements or (
                token.kind is not Kind.WORD and token.text != ","
            ):
                return
            if self._scanner.next().upper in {"ON", "OFF"}:
                return

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
        """Skip EXEC; yield a remark if an executed string contains INSERT, since strings are not read."""
        for _ in range(4):
            part = self._scanner.peek()
            if part.kind is Kind.STRING and re.search(r"\bINSERT\b", part.text, re.IGNORECASE):
                yield self._remark(
                    RemarkKind.SKIPPED, token.line, "EXEC of a text that inserts rows"
                )
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
        name = dotted(self._scanner, target)
        if token.upper == "MERGE":
            yield from self._merges.read(token.line, name.lower(), name)
            return
        change = read_change(self._scanner)
        columns = f" of {', '.join(change.columns)}" if change.columns else ""
        where = f" WHERE {change.condition[:_LONGEST_SHOWN]}" if change.condition else ""
        text = f"{token.upper} {name}{columns}{where} is not carried out; the rows are taken as inserted"
        remark = self._remark(RemarkKind.SKIPPED, token.line, text, name.lower())
        yield remark._replace(where=change.where)

    def _permission(self, _: Token) -> Iterator[Item]:
        yield from ()
        while self._scanner.peek().kind is Kind.WORD and self._scanner.peek().upper != "ON":
            self._scanner.next()
            if self._scanner.peek().text == ",":
                self._scanner.next()

    def _remark(self, kind: RemarkKind, line: int, text: str, table: str = "") -> Remark:
        return Remark(kind, self._file, line, text, table)


def _column_name(token: Token) -> str:
    constraints = {"CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "INDEX", "PERIOD"}
    return "" if token.upper in constraints else token.text.lower()
