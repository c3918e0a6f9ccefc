"""The beginning of a script: a tool that cuts files leaves the end of a statement there, whose rows are lost."""

from __future__ import annotations

import re
from collections.abc import Iterator

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
"""Text behind a word that could still make it another."""
_SHOWN = 60


class Cut:
    """What stands before the first whole statement of a script.

    Attributes:
        shown: Its first letters.
        last_line: The line it ends on.
        table: The table of the INSERT that follows, in lower case: the likeliest one of the row that was cut.
    """

    def __init__(self, text: str, table: str) -> None:
        self.shown = " ".join(text.split())[:_SHOWN]
        self.last_line = text.count("\n") or 1
        self.table = table


def whole_statements(chunks: Iterator[str]) -> tuple[Iterator[str], Cut | None]:
    """The script from its first whole statement on, with empty lines for what was cut.

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
    found = _NEXT.search(head, start)
    if found is None:
        return _joined(head, chunks), None
    cut, rest = head[: found.start()], head[found.start() :]
    insert = _INSERT_NEXT.match(rest)
    return _joined("\n" * cut.count("\n") + rest, chunks), Cut(
        cut[start:], insert[1].lower() if insert else ""
    )


def _is_clear(head: str) -> bool:
    """Whether more text would change nothing."""
    start = _begins(head)
    found = _GOOD.match(head, start) or _NEXT.search(head, start)
    return found is not None and found.end() < len(head) - _MARGIN


def _begins(text: str) -> int:
    """Where the first word is, behind blanks and comments."""
    found = _BLANK.match(text)
    assert found is not None
    return found.end()


def _joined(head: str, chunks: Iterator[str]) -> Iterator[str]:
    if head:
        yield head
    yield from chunks
