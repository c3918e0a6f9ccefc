"""Read procedures, triggers, functions and views of a script; a procedure's text tells the used tables and procedures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from targcc_gen.readers.rows import Item, KnownTables, Remark, RemarkKind, Routine
from targcc_gen.readers.text import Truncated
from targcc_gen.readers.tsql.scanner import Kind, Scanner, Token

_KINDS = {"PROC", "PROCEDURE"}
_WRITES = {"INTO", "UPDATE", "INSERT", "MERGE", "TRUNCATE", "DELETE"}
_READS = {"FROM", "JOIN"}
_CALLS = {"EXEC", "EXECUTE"}
_BETWEEN = {"INTO", "FROM", "TABLE", "TOP"}
_NO_NAMES = {"SET", "VALUES", "SELECT", "WHERE", "OUTPUT", "OPENQUERY", "OPENROWSET", "STATISTICS"}
_MOST = 40


class _Uses:
    """The distinct names that a text uses, in order of first use."""

    def __init__(self) -> None:
        self.writes: dict[str, None] = {}
        self.reads: dict[str, None] = {}
        self.calls: dict[str, None] = {}

    def routine(self, name: str, file: str, line: int) -> Routine:
        """Return the routine; a table that is both written and read counts as written."""
        own = set(self.writes)
        reads = [table for table in self.reads if table not in own]
        groups = (self.writes, reads, self.calls)
        writes, read, calls = (tuple(group)[:_MOST] for group in groups)
        return Routine(name, file, line, writes, read, calls)


def read_routine(scanner: Scanner, begun: Token, tables: KnownTables) -> Iterator[Item]:
    """Skip a routine to the end of its batch; yield a procedure as ``Routine``, and a remark for each INSERT that looks like data.

    Args:
        scanner: The scanner, behind CREATE or ALTER.
        begun: The token CREATE or ALTER.
        tables: The wanted tables, to recognise an INSERT without INTO.
    """
    what = scanner.next().text.upper()
    name = _name(scanner, scanner.next())
    uses = _Uses()
    while (token := scanner.next()).kind not in {Kind.GO, Kind.END}:
        if token.upper == "INSERT":
            following = scanner.peek()
            if following.upper == "INTO" or following.text.lower() in tables:
                text = f"INSERT in the body of {begun.text} {what} (line {begun.line}) is code, not data"
                yield Remark(RemarkKind.SKIPPED, scanner.file, token.line, text)
        _note(scanner, token, uses)
    scanner.push(token)
    if what in _KINDS and name:
        yield uses.routine(name, scanner.file, begun.line)


def routine_of(name: str, text: str, file: str, line: int) -> Routine:
    """Return the tables and procedures that a database's procedure uses.

    Args:
        name: The procedure's present name; the text may have an older name.
        text: The definition, from CREATE on; of a truncated text the readable part counts.
        file: The source, for places.
        line: The line in the source.
    """
    scanner = Scanner(iter([text]), file)
    uses = _Uses()
    with contextlib.suppress(Truncated):
        while (token := scanner.next()).upper not in _KINDS and token.kind is not Kind.END:
            pass
        _name(scanner, scanner.next())
        while (token := scanner.next()).kind is not Kind.END:
            _note(scanner, token, uses)
    return uses.routine(name, file, line)


def _note(scanner: Scanner, token: Token, uses: _Uses) -> None:
    """Record the name behind a keyword that writes, reads or calls."""
    if token.upper in _CALLS:
        group = uses.calls
    elif token.upper in _WRITES:
        group = uses.writes
    elif token.upper in _READS:
        group = uses.reads
    else:
        return
    while scanner.peek().upper in _BETWEEN:
        scanner.next()
    following = scanner.peek()
    if following.kind is Kind.NAME or (
        following.kind is Kind.WORD
        and following.upper not in _NO_NAMES
        and not following.text.startswith("#")
    ):
        group[_name(scanner, scanner.next())] = None


def _name(scanner: Scanner, first: Token) -> str:
    """Read a name such as ``db.schema.name`` and return the name without brackets; the next token stays."""
    parts = [first.text]
    while scanner.peek().text == "." and scanner.peek().kind is Kind.OPERATOR:
        scanner.next()
        if scanner.peek().text != ".":
            parts.append(scanner.next().text)
    return ".".join(parts)
