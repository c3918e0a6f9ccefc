"""The edits of a person, one by one, and where the lines around each are now."""

from __future__ import annotations

import ast
import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

CONTEXT = 3
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Hunk:
    """Some lines of the generator's text that a person made into others.

    Attributes:
        first: The number of its first line in the person's file, from 1.
        at: Index of its first line in the generator's text.
        removed: The generator's lines, with their ends.
        added: The person's.
        before: The nearest lines above that are not blank, nearest first.
        after: The nearest lines below.
        gap: How many blank lines are between it and the line above.
        scope: The name of the function or class that it is in; empty at the top of a module.
        is_only: Whether the generator's lines are nowhere else in its text.
        above: The function or class that ends right above it, at the top of a module.
        below: The one that begins right below it.
    """

    first: int
    at: int
    removed: tuple[str, ...]
    added: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    gap: int = 0
    scope: str = ""
    is_only: bool = False
    above: str = ""
    below: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether it is about blank lines only."""
        return not any(line.strip() for line in (*self.removed, *self.added))

    @property
    def is_definition(self) -> bool:
        """Whether it adds functions and classes at the top of a module, and nothing else."""
        if any(line.strip() for line in self.removed):
            return False
        try:
            body = ast.parse("".join(self.added)).body
        except (SyntaxError, ValueError):
            return False
        return all(isinstance(node, DEFINITIONS) for node in body)

    @property
    def last(self) -> int:
        """The number of its last line in the person's file; before `first` where lines were only removed."""
        return self.first + len(self.added) - 1


class Text:
    """A text by lines.

    Args:
        path: Its path.
        content: The text.
    """

    def __init__(self, path: str, content: str) -> None:
        self.path = path
        self.content = content
        self.lines = content.splitlines(keepends=True)
        self.filled = [
            (index, line.strip()) for index, line in enumerate(self.lines) if line.strip()
        ]

    @cached_property
    def stripped_lines(self) -> list[str]:
        """The lines that are not blank, without their indentation."""
        return [line for _, line in self.filled]

    @cached_property
    def scopes(self) -> list[str]:
        """The name of the innermost function or class around each line."""
        names = [""] * (len(self.lines) + 1)
        if self.path.endswith(".py"):
            with contextlib.suppress(SyntaxError, ValueError):
                _name_scopes(ast.parse(self.content), names)
        return names

    @cached_property
    def definitions(self) -> dict[str, tuple[int, int]]:
        """The first line of each function and class at the top, and the one after its last."""
        found = {}
        with contextlib.suppress(SyntaxError, ValueError):
            for node in ast.parse(self.content).body if self.path.endswith(".py") else ():
                if isinstance(node, DEFINITIONS):
                    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                    found[node.name] = (first - 1, node.end_lineno or node.lineno)
        return found

    def neighbours(self, first: int, last: int) -> tuple[str, str]:
        """The definitions between which these lines are; empty where something else is between."""
        above = below = ""
        for name, (start, end) in self.definitions.items():
            if end <= first and not any(line.strip() for line in self.lines[end:first]):
                above = name
            if start >= last and not any(line.strip() for line in self.lines[last:start]):
                below = below or name
        return above, below

    def starts(self, wanted: Sequence[str]) -> list[int]:
        """Where these lines, without indentation, follow each other here."""
        if not wanted:
            return []
        size = len(wanted)
        return [
            start
            for start in range(len(self.stripped_lines) - size + 1)
            if self.stripped_lines[start] == wanted[0]
            and self.stripped_lines[start : start + size] == wanted
        ]


def hunks_of(path: str, base: str, mine: str) -> list[Hunk]:
    """The edits that lead from the generator's text to the person's; blank lines alone are none."""
    text = Text(path, base)
    old, new = text.lines, mine.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    found = []
    for tag, first, last, start, end in matcher.get_opcodes():
        if tag == "equal":
            continue
        hunk = Hunk(
            start + 1,
            first,
            tuple(old[first:last]),
            tuple(new[start:end]),
            _filled(reversed(old[:first])),
            _filled(old[last:]),
            blanks(reversed(old[:first]), len(old)),
            text.scopes[first],
            len(text.starts(stripped(old[first:last]))) == 1,
            *text.neighbours(first, last),
        )
        if not hunk.is_blank:
            found.append(hunk)
    return found


def statements_of(hunk: Hunk) -> list[Hunk]:
    """An edit of several lines at the top of a module that are a statement each, such as constants, statement by statement."""
    count = len(hunk.removed)
    if count != len(hunk.added) or not all(map(_is_statement, (*hunk.removed, *hunk.added))):
        return [hunk]
    return [
        replace(
            hunk,
            first=hunk.first + index,
            at=hunk.at + index,
            removed=hunk.removed[index : index + 1],
            added=hunk.added[index : index + 1],
            before=(*reversed(hunk.removed[:index]), *hunk.before)[:CONTEXT],
            after=(*hunk.removed[index + 1 :], *hunk.after)[:CONTEXT],
        )
        for index in range(count)
    ]


def with_hunks(base: str, hunks: Iterable[Hunk]) -> str:
    """The generator's text with some of the person's edits."""
    lines = base.splitlines(keepends=True)
    for hunk in sorted(hunks, key=lambda hunk: hunk.at, reverse=True):
        lines[hunk.at : hunk.at + len(hunk.removed)] = hunk.added
    return "".join(lines)


def indent(line: str) -> int:
    """How many blanks a line begins with."""
    return len(line) - len(line.lstrip(" "))


def _name_scopes(tree: ast.AST, names: list[str]) -> None:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, DEFINITIONS):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            last = node.end_lineno or node.lineno
            names[first - 1 : last] = [node.name] * (last - first + 1)
        _name_scopes(node, names)


def _is_statement(line: str) -> bool:
    if indent(line) or not line.strip():
        return False
    try:
        return len(ast.parse(line).body) == 1
    except (SyntaxError, ValueError):
        return False


def stripped(lines: Iterable[str]) -> list[str]:
    """The lines that are not blank, without their indentation."""
    return [line.strip() for line in lines if line.strip()]


def _filled(lines: Iterator[str] | Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for line in lines:
        if line.strip():
            found.append(line)
            if len(found) == CONTEXT:
                break
    return tuple(found)


def blanks(lines: Iterator[str] | Sequence[str], most: int | None = None) -> int:
    """How many blank lines there are at the start, at most `most`."""
    count = 0
    for line in lines:
        if line.strip() or count == most:
            break
        count += 1
    return count
