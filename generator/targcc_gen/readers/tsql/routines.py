"""Find procedures, triggers, functions and views of a script; their words tell what they use."""

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
    """Names in the order in which a text uses them, each once."""

    def __init__(self) -> None:
        self.writes: dict[str, None] = {}
        self.reads: dict[str, None] = {}
        self.calls: dict[str, None] = {}

    def routine(self, name: str, file: str, line: int) -> Routine:
        """What was found; what is written is not said to be read too."""
        own = set(self.writes)
        reads = [table for table in self.reads if table not in own]
        groups = (self.writes, reads, self.calls)
        writes, read, calls = (tuple(group)[:_MOST] for group in groups)
        return Routine(name, file, line, writes, read, calls)


def read_routine(scanner: Scanner, begun: Token, tables: KnownTables) -> Iterator[Item]:
    """Step over a routine, whose body is the rest of its batch, and say what a procedure uses.

    Args:
        scanner: Behind CREATE or ALTER.
        begun: That word.
        tables: What is looked for: an INSERT in the body that looks like data is told.
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
    """What a procedure of a database uses.

    Args:
        name: What it is called now; its text may have another name.
        text: Its definition, from CREATE on; of one that cannot be read to its end, what comes before counts.
        file: Where it is from.
        line: Its place there.
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
    """The name behind a word that uses one."""
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
    """``db.schema.name`` as written, without brackets; the token that is no part of it stays."""
    parts = [first.text]
    while scanner.peek().text == "." and scanner.peek().kind is Kind.OPERATOR:
        scanner.next()
        if scanner.peek().text != ".":
            parts.append(scanner.next().text)
    return ".".join(parts)
