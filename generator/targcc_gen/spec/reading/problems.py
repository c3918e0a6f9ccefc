"""Errors of a spec with their places in the file, as people see them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from targcc_gen.errors import InputError

MAX_PROBLEMS = 25
"""So many errors are shown in full."""

_WIDTH = 100
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True, order=True)
class Problem:
    """One error and where it is.

    Attributes:
        line: From 0.
        column: From 0, in characters.
        length: How many characters the carets mark; 0 shows no line.
        message: What is wrong.
        hint: What to do about it.
    """

    line: int
    column: int
    length: int
    message: str
    hint: str | None = None


class SpecErrors(InputError):  # noqa: N818 - it carries several errors
    """A spec is wrong (exit status 2).

    `message` is everything to show: each error with its place, its line, carets and advice, and how many there are.

    Attributes:
        filename: The file, as messages name it.
        problems: The errors, by their places.
    """

    code = "spec"
    prefix = ""

    def __init__(self, filename: str, text: str, problems: Iterable[Problem]) -> None:
        self.filename = filename
        self.problems = sorted(set(problems), key=lambda one: (one.line, one.column, one.message))
        super().__init__(self._report(split_lines(text.removeprefix("\ufeff"))))

    def _report(self, lines: list[str]) -> str:
        report: list[str] = []
        for one in self.problems[:MAX_PROBLEMS]:
            where = f"{self.filename}:{one.line + 1}:{one.column + 1}"
            report.append(f"{where}: error: {_printable(one.message)}")
            report += _frame(lines, one)
        hidden = len(self.problems) - MAX_PROBLEMS
        if hidden > 0:
            report.append(f"… and {hidden} more.")
        count = len(self.problems)
        report.append(f"{count} error{'' if count == 1 else 's'}, nothing was written.")
        return "\n".join(report)


def split_lines(text: str) -> list[str]:
    """The lines of a YAML file, without their endings, as YAML counts them."""
    return _LINE_BREAK.split(text)


def _frame(lines: list[str], problem: Problem) -> list[str]:
    """The line before, the line, and carets under what is wrong."""
    hint = _printable(problem.hint or "")
    if problem.length == 0 or problem.line >= len(lines):
        return [f"  {hint}"] if hint else []
    shift, line = _window(lines[problem.line], problem.column)
    column = problem.column - shift
    before = lines[problem.line - 1] if problem.line else ""
    margin = len(str(problem.line + 1)) + 3
    frame = [f"{problem.line:{margin}} | {_window(before, 0)[1]}"] if before.strip() else []
    frame.append(f"{problem.line + 1:{margin}} | {line}")
    spaces = " " * _columns(line[:column])
    carets = "^" * max(1, _columns(line[column : column + problem.length]))
    frame.append(f"{'':{margin}} | {spaces}{carets} {hint}".rstrip())
    return frame


def _window(line: str, column: int) -> tuple[int, str]:
    """As much of a long line as fits, and how many characters of it are left out in front."""
    shift = max(0, column - _WIDTH // 2) if len(line) > _WIDTH else 0
    shown = line[shift : shift + _WIDTH]
    return shift, "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in shown)


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _printable(text: str) -> str:
    """A message in which nothing from a file moves the cursor or turns the writing direction."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )
