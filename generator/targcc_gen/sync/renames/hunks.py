"""The edits of a person, one by one, and where the lines around each are now."""

from __future__ import annotations

import ast
import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

_CONTEXT = 3
_NEAR = 8
_TELLING = 6
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


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
        return all(isinstance(node, _DEFINITIONS) for node in body)

    @property
    def last(self) -> int:
        """The number of its last line in the person's file; before `first` where lines were only removed."""
        return self.first + len(self.added) - 1


@dataclass(frozen=True)
class Spot:
    """A place where a hunk fits.

    Attributes:
        path: The file.
        first: Index of the first line that it replaces.
        last: Index after the last one.
        shift: How much further the lines are indented there.
        score: How well the surroundings fit.
    """

    path: str
    first: int
    last: int
    shift: int
    score: float


class Text:
    """A text in which hunks are looked for.

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
    def stripped(self) -> list[str]:
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
                if isinstance(node, _DEFINITIONS):
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

    def beside(self, hunk: Hunk) -> Iterator[Spot]:
        """Where new functions and classes go: after the one they stood after, or before the one they stood before."""
        if hunk.above in self.definitions:
            place = self.definitions[hunk.above][1]
            place += _blanks(self.lines[place:], hunk.gap)
            yield Spot(self.path, place, place, 0, 2.0)
        elif hunk.below in self.definitions:
            place = self.definitions[hunk.below][0]
            yield Spot(self.path, place, place, 0, 1.0)

    def spots(self, hunk: Hunk) -> Iterator[Spot]:
        """Where the hunk fits here."""
        wanted = _stripped(hunk.removed)
        if not wanted:
            yield from self._between(hunk)
            return
        size, starts = len(wanted), self.starts(wanted)
        for start in starts:
            score = self._around(hunk, start, start + size)
            if score or (len(starts) == 1 and hunk.is_only and _tells(wanted)):
                yield self._spot(hunk, start, size, score)

    def starts(self, wanted: Sequence[str]) -> list[int]:
        """Where these lines, without indentation, follow each other here."""
        if not wanted:
            return []
        size = len(wanted)
        return [
            start
            for start in range(len(self.stripped) - size + 1)
            if self.stripped[start] == wanted[0] and self.stripped[start : start + size] == wanted
        ]

    def _spot(self, hunk: Hunk, start: int, size: int, score: float) -> Spot:
        first, last = self.filled[start][0], self.filled[start + size - 1][0] + 1
        base = next(line for line in hunk.removed if line.strip())
        shift = indent(self.lines[first]) - indent(base)
        # Blank lines at its ends are the hunk's too.
        first -= _blanks(reversed(self.lines[:first]), _blanks(hunk.removed))
        last += _blanks(self.lines[last:], _blanks(reversed(hunk.removed)))
        return Spot(self.path, first, last, shift, score)

    def _around(self, hunk: Hunk, start: int, end: int) -> float:
        """How well the lines before `start` and from `end` on fit: a point for each, and three for the same scope."""
        scope = self.scopes[self.filled[start][0]] if start < len(self.filled) else ""
        same = 3.0 if scope and _plain(scope) == _plain(hunk.scope) else 0.0
        return self._above(hunk, start) * 1.01 + self._below(hunk, end) + same

    def _above(self, hunk: Hunk, start: int) -> int:
        return _common(hunk.before, list(reversed(self.stripped[max(0, start - _CONTEXT) : start])))

    def _below(self, hunk: Hunk, end: int) -> int:
        return _common(hunk.after, self.stripped[end : end + _CONTEXT])

    def _between(self, hunk: Hunk) -> Iterator[Spot]:
        """Between which lines new ones go: both neighbours are there, or one that tells while the other is elsewhere."""
        for place in range(len(self.filled) + 1):
            above, below = self._above(hunk, place), self._below(hunk, place)
            if not self._fits(hunk, place, above, below):
                continue
            neighbour = self.lines[self.filled[place - 1][0]] if above else self._line(place)
            known = hunk.before[0] if above else hunk.after[0]
            shift = indent(neighbour) - indent(known)
            index = self._insertion(hunk, place, above)
            yield Spot(self.path, index, index, shift, self._around(hunk, place, place))

    def _line(self, place: int) -> str:
        return self.lines[self.filled[place][0]]

    def _fits(self, hunk: Hunk, place: int, above: int, below: int) -> bool:
        ends = (not hunk.before and place == 0) or (not hunk.after and place == len(self.filled))
        if above and below:
            return above > 1 or below > 1 or _tells([hunk.before[0], hunk.after[0]])
        if above > 1:
            near = self.stripped[place : place + _NEAR]
            return ends or not hunk.after or hunk.after[0].strip() not in near
        if below > 1:
            near = self.stripped[max(0, place - _NEAR) : place]
            return ends or not hunk.before or hunk.before[0].strip() not in near
        return False

    def _insertion(self, hunk: Hunk, place: int, above: int) -> int:
        """The line before which it goes: as many blank lines below its upper neighbour as the person left."""
        if not above:
            return self.filled[place][0]
        index = self.filled[place - 1][0] + 1
        return index + _blanks(self.lines[index:], hunk.gap)


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
            _blanks(reversed(old[:first]), len(old)),
            text.scopes[first],
            len(text.starts(_stripped(old[first:last]))) == 1,
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
            before=(*reversed(hunk.removed[:index]), *hunk.before)[:_CONTEXT],
            after=(*hunk.removed[index + 1 :], *hunk.after)[:_CONTEXT],
        )
        for index in range(count)
    ]


def with_hunks(base: str, hunks: Iterable[Hunk]) -> str:
    """The generator's text with some of the person's edits."""
    lines = base.splitlines(keepends=True)
    for hunk in sorted(hunks, key=lambda hunk: hunk.at, reverse=True):
        lines[hunk.at : hunk.at + len(hunk.removed)] = hunk.added
    return "".join(lines)


def find(hunk: Hunk, texts: Sequence[Text]) -> Spot | None:
    """The one place where a hunk fits best; None when it fits nowhere, or in several places alike."""
    spots = sorted(
        (spot for text in texts for spot in text.spots(hunk)), key=lambda spot: -spot.score
    )
    if not spots and hunk.is_definition:
        beside = [spot for text in texts for spot in text.beside(hunk)]
        spots = sorted(beside, key=lambda spot: -spot.score)
    if not spots or (len(spots) > 1 and spots[0].score == spots[1].score):
        return None
    return spots[0]


def indent(line: str) -> int:
    """How many blanks a line begins with."""
    return len(line) - len(line.lstrip(" "))


def shifted(lines: Sequence[str], shift: int) -> list[str]:
    """The lines, indented further by `shift`."""
    if shift >= 0:
        return [" " * shift + line if line.strip() else line for line in lines]
    return [line[min(-shift, indent(line)) :] for line in lines]


def _name_scopes(tree: ast.AST, names: list[str]) -> None:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, _DEFINITIONS):
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


def _stripped(lines: Iterable[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


def _plain(scope: str) -> str:
    return scope.strip("_").lower()


def _tells(lines: Sequence[str]) -> bool:
    """Whether a line says enough to be recognised by itself."""
    return any(sum(character.isalnum() for character in line) >= _TELLING for line in lines)


def _common(wanted: Sequence[str], there: Sequence[str]) -> int:
    count = 0
    for one, other in zip(wanted, there, strict=False):
        if one.strip() != other:
            break
        count += 1
    return count


def _filled(lines: Iterator[str] | Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for line in lines:
        if line.strip():
            found.append(line)
            if len(found) == _CONTEXT:
                break
    return tuple(found)


def _blanks(lines: Iterator[str] | Sequence[str], most: int | None = None) -> int:
    """How many blank lines there are at the start, at most `most`."""
    count = 0
    for line in lines:
        if line.strip() or count == most:
            break
        count += 1
    return count
