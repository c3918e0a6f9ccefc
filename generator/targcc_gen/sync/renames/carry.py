"""Carry a user's edits of moved files into the files that hold the text now."""

from __future__ import annotations

import ast
import builtins
import contextlib
import difflib
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from targcc_gen.sync.renames.imports import Homes, Import, Module

# Hunks: single edits of a user, and the new position of the lines around each.

CONTEXT = 3
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Hunk:
    """Lines of the generator's text that a user replaced.

    Attributes:
        first: Number of the first line in the user's file, from 1.
        at: Index of the first line in the generator's text.
        removed: The generator's lines, with their ends.
        added: The user's lines.
        before: The nearest non-blank lines above, nearest first.
        after: The nearest non-blank lines below.
        gap: Number of blank lines up to the line above.
        scope: Name of the enclosing function or class; empty at the top of a module.
        is_only: Whether the removed lines occur only once in the generator's text.
        above: Name of the top-level function or class that ends right above.
        below: Name of the top-level function or class that begins right below.
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
        """Whether only blank lines are removed and added."""
        return not any(line.strip() for line in (*self.removed, *self.added))

    @property
    def is_definition(self) -> bool:
        """Whether the hunk only adds top-level functions and classes."""
        if any(line.strip() for line in self.removed):
            return False
        try:
            body = ast.parse("".join(self.added)).body
        except (SyntaxError, ValueError):
            return False
        return all(isinstance(node, DEFINITIONS) for node in body)

    @property
    def last(self) -> int:
        """Number of the last line in the user's file; before `first` where lines were only removed."""
        return self.first + len(self.added) - 1


class Text:
    """A text by lines.

    Args:
        path: Path of the text.
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
        """The non-blank lines, without indentation."""
        return [line for _, line in self.filled]

    @cached_property
    def scopes(self) -> list[str]:
        """Name of the innermost function or class around each line."""
        names = [""] * (len(self.lines) + 1)
        if self.path.endswith(".py"):
            with contextlib.suppress(SyntaxError, ValueError):
                _name_scopes(ast.parse(self.content), names)
        return names

    @cached_property
    def definitions(self) -> dict[str, tuple[int, int]]:
        """Index of the first line of each top-level function and class, and the index after its last line."""
        result = {}
        with contextlib.suppress(SyntaxError, ValueError):
            for node in ast.parse(self.content).body if self.path.endswith(".py") else ():
                if isinstance(node, DEFINITIONS):
                    first = min(
                        [node.lineno, *(decorator.lineno for decorator in node.decorator_list)]
                    )
                    result[node.name] = (first - 1, node.end_lineno or node.lineno)
        return result

    def neighbours(self, first: int, last: int) -> tuple[str, str]:
        """Return the definitions right above and below the lines; empty where other text is between."""
        above = below = ""
        for name, (start, end) in self.definitions.items():
            if end <= first and not any(line.strip() for line in self.lines[end:first]):
                above = name
            if start >= last and not any(line.strip() for line in self.lines[last:start]):
                below = below or name
        return above, below

    def starts(self, wanted: Sequence[str]) -> list[int]:
        """Return the indices in `stripped_lines` at which the lines `wanted` occur in sequence."""
        if not wanted:
            return []
        size = len(wanted)
        return [
            start
            for start in range(len(self.stripped_lines) - size + 1)
            if self.stripped_lines[start] == wanted[0]
            and self.stripped_lines[start : start + size] == wanted
        ]


def hunks_of(path: str, base: str, existing: str) -> list[Hunk]:
    """Return the edits from the generator's text to the user's; edits of blank lines alone are skipped."""
    text = Text(path, base)
    old, new = text.lines, existing.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    result = []
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
            result.append(hunk)
    return result


def statements_of(hunk: Hunk) -> list[Hunk]:
    """Split an edit of several one-line statements at the top of a module, such as constants, into single statements."""
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
    """Apply some of the user's edits to the generator's text."""
    lines = base.splitlines(keepends=True)
    for hunk in sorted(hunks, key=lambda hunk: hunk.at, reverse=True):
        lines[hunk.at : hunk.at + len(hunk.removed)] = hunk.added
    return "".join(lines)


def indent(line: str) -> int:
    """Return the number of leading spaces."""
    return len(line) - len(line.lstrip(" "))


def _name_scopes(tree: ast.AST, names: list[str]) -> None:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, DEFINITIONS):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
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
    """Return the non-blank lines, without indentation."""
    return [line.strip() for line in lines if line.strip()]


def _filled(lines: Iterator[str] | Sequence[str]) -> tuple[str, ...]:
    result: list[str] = []
    for line in lines:
        if line.strip():
            result.append(line)
            if len(result) == CONTEXT:
                break
    return tuple(result)


def blanks(lines: Iterator[str] | Sequence[str], most: int | None = None) -> int:
    """Return the number of leading blank lines, at most `most`."""
    count = 0
    for line in lines:
        if line.strip() or count == most:
            break
        count += 1
    return count


# Positions of edits in today's files.

_NEAR = 8
_TELLING = 6


@dataclass(frozen=True)
class Spot:
    """A place where a hunk fits.

    Attributes:
        path: Path of the file.
        first: Index of the first line to replace.
        last: Index after the last line to replace.
        shift: Additional indentation of the lines at this place.
        score: Quality of the match of the surrounding lines.
    """

    path: str
    first: int
    last: int
    shift: int
    score: float


class Target(Text):
    """A text to place edits in."""

    def beside(self, hunk: Hunk) -> Iterator[Spot]:
        """Yield the place for new functions and classes: after the same preceding definition, else before the same following definition."""
        if hunk.above in self.definitions:
            place = self.definitions[hunk.above][1]
            place += blanks(self.lines[place:], hunk.gap)
            yield Spot(self.path, place, place, 0, 2.0)
        elif hunk.below in self.definitions:
            place = self.definitions[hunk.below][0]
            yield Spot(self.path, place, place, 0, 1.0)

    def spots(self, hunk: Hunk) -> Iterator[Spot]:
        """Yield the places where the hunk fits in this text."""
        wanted = stripped(hunk.removed)
        if not wanted:
            yield from self._between(hunk)
            return
        size, starts = len(wanted), self.starts(wanted)
        for start in starts:
            score = self._around(hunk, start, start + size)
            if score or (len(starts) == 1 and hunk.is_only and _is_recognisable(wanted)):
                yield self._spot(hunk, start, size, score)

    def _spot(self, hunk: Hunk, start: int, size: int, score: float) -> Spot:
        first, last = self.filled[start][0], self.filled[start + size - 1][0] + 1
        base = next(line for line in hunk.removed if line.strip())
        shift = indent(self.lines[first]) - indent(base)
        # Blank lines at the ends belong to the hunk too.
        first -= blanks(reversed(self.lines[:first]), blanks(hunk.removed))
        last += blanks(self.lines[last:], blanks(reversed(hunk.removed)))
        return Spot(self.path, first, last, shift, score)

    def _around(self, hunk: Hunk, start: int, end: int) -> float:
        """Return the score of the lines before `start` and from `end` on: about one point for each match, and three for the same scope."""
        scope = self.scopes[self.filled[start][0]] if start < len(self.filled) else ""
        same = 3.0 if scope and _plain(scope) == _plain(hunk.scope) else 0.0
        return self._above(hunk, start) * 1.01 + self._below(hunk, end) + same

    def _above(self, hunk: Hunk, start: int) -> int:
        return _common(
            hunk.before, list(reversed(self.stripped_lines[max(0, start - CONTEXT) : start]))
        )

    def _below(self, hunk: Hunk, end: int) -> int:
        return _common(hunk.after, self.stripped_lines[end : end + CONTEXT])

    def _between(self, hunk: Hunk) -> Iterator[Spot]:
        """Yield the places for added lines: both neighbours match, or two lines match on one side and the other neighbour is elsewhere."""
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
            return above > 1 or below > 1 or _is_recognisable([hunk.before[0], hunk.after[0]])
        if above > 1:
            near = self.stripped_lines[place : place + _NEAR]
            return ends or not hunk.after or hunk.after[0].strip() not in near
        if below > 1:
            near = self.stripped_lines[max(0, place - _NEAR) : place]
            return ends or not hunk.before or hunk.before[0].strip() not in near
        return False

    def _insertion(self, hunk: Hunk, place: int, above: int) -> int:
        """Return the index to insert at, keeping the user's number of blank lines below the upper neighbour."""
        if not above:
            return self.filled[place][0]
        index = self.filled[place - 1][0] + 1
        return index + blanks(self.lines[index:], hunk.gap)


def find(hunk: Hunk, texts: Sequence[Target]) -> Spot | None:
    """Return the place where a hunk fits best; None when the hunk fits nowhere, or equally well in several places."""
    spots = sorted(
        (spot for text in texts for spot in text.spots(hunk)), key=lambda spot: -spot.score
    )
    if not spots and hunk.is_definition:
        beside = [spot for text in texts for spot in text.beside(hunk)]
        spots = sorted(beside, key=lambda spot: -spot.score)
    if not spots or (len(spots) > 1 and spots[0].score == spots[1].score):
        return None
    return spots[0]


def shifted(lines: Sequence[str], shift: int) -> list[str]:
    """Return the lines, indented further by `shift`."""
    if shift >= 0:
        return [" " * shift + line if line.strip() else line for line in lines]
    return [line[min(-shift, indent(line)) :] for line in lines]


def _plain(scope: str) -> str:
    return scope.strip("_").lower()


def _is_recognisable(lines: Sequence[str]) -> bool:
    """Return whether any line has enough letters and digits to be recognised alone."""
    return any(sum(character.isalnum() for character in line) >= _TELLING for line in lines)


def _common(wanted: Sequence[str], following: Sequence[str]) -> int:
    count = 0
    for line, other in zip(wanted, following, strict=False):
        if line.strip() != other:
            break
        count += 1
    return count


# Carry edits.

_BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True)
class Moved:
    """A moved file that a user edited at its old path.

    Attributes:
        path: Old path.
        base: The generator's text.
        mine: The user's text.
        targets: New paths of the text.
    """

    path: str
    base: str
    mine: str
    targets: tuple[str, ...]


@dataclass
class _Edits:
    """The edits for one file.

    Attributes:
        places: The hunks, each with its place.
        imports: Imports that the hunks need.
    """

    places: list[tuple[Spot, Hunk]] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)


@dataclass(frozen=True)
class Carried:
    """The result of carrying the edits of one file.

    Attributes:
        texts: Text of each file that takes edits, by path.
        left: Edits that fit nowhere.
    """

    texts: dict[str, str]
    left: tuple[Hunk, ...]


def carry(moved: Moved, homes: Homes) -> Carried:
    """Put each edit into the file that holds the surrounding lines.

    Args:
        moved: The moved file.
        homes: Today's files.
    """
    return _Carrier(moved, homes).carried()


def without_imports(moved: Moved, homes: Homes) -> str:
    """Return the user's text with the generator's import statements, for a file that moved as a whole."""
    base = moved.base.splitlines(keepends=True)
    existing = moved.mine.splitlines(keepends=True)
    before, after = Module(moved.base), Module(moved.mine)
    if before.differs(after):
        return moved.mine  # a changed import is an edit like any other
    old_imports, new_imports = before.import_lines, after.import_lines
    for hunk in reversed(hunks_of(moved.path, moved.base, moved.mine)):
        start = hunk.first - 1
        kept = [base[n] for n in range(hunk.at, hunk.at + len(hunk.removed)) if n in old_imports]
        added = [existing[n] for n in range(start, hunk.last) if n not in new_imports]
        fixed = [homes.fixed(line, moved.path, moved.targets[0]) or line for line in added]
        base[hunk.at : hunk.at + len(hunk.removed)] = [*kept, *fixed]
    return "".join(base)


def with_imports(text: str, moved: Moved, homes: Homes) -> str:
    """Add the user's imports, and imports that the user's lines need, to the merged text of a file that moved as a whole.

    Args:
        text: The merged text at the new path.
        moved: The moved file.
        homes: Today's files.
    """
    if not moved.path.endswith(".py"):
        return text
    module, base = Module(text), Module(moved.base)
    used = {name for hunk in _edits(moved) for name in _used(hunk.added)}
    needed = [item for name, item in base.imports.items() if name in used]
    wanted = [item for item in [*_new_imports(moved), *needed] if item.name not in module.names]
    places = [homes.relocated(item, moved.path, moved.targets[0]) for item in wanted]
    return module.with_imports(_statements(place for place in places if place is not None))


class _Carrier:
    def __init__(self, moved: Moved, homes: Homes) -> None:
        self.moved = moved
        self.homes = homes
        self.python = moved.path.endswith(".py")
        self.texts = [Target(path, homes.texts[path]) for path in moved.targets]
        self.modules = {
            text.path: Module(text.content if self.python else "") for text in self.texts
        }
        self.mine = Module(moved.mine if self.python else "")
        self.base = Module(moved.base if self.python else "")
        self.edits = {text.path: _Edits() for text in self.texts}
        self.left: list[Hunk] = []

    def carried(self) -> Carried:
        self.left = _edits(self.moved)
        self._put_all()
        self.left = [part for hunk in self.left for part in statements_of(hunk)]
        self._put_all()
        self._import(_new_imports(self.moved))
        changed = self.base.differs(self.mine)
        self.left += [
            _hunk_of(imported, self.mine)
            for name, imported in self.mine.imports.items()
            if name in changed
        ]
        texts = {}
        for path, edits in self.edits.items():
            if not edits.places and not edits.imports:
                continue
            text = self._written(path, edits)
            if self._is_sound(path, text):
                texts[path] = text
            else:
                self.left += [hunk for _, hunk in edits.places]
        return Carried(texts, tuple(sorted(self.left, key=lambda hunk: hunk.first)))

    def _is_sound(self, path: str, text: str) -> bool:
        """Return whether a valid module is still valid."""
        return not self.python or Module(text).is_valid or not self.modules[path].is_valid

    def _put_all(self) -> None:
        """Place edits until no more fit: an edit may need a name that another edit defines."""
        while self.left and (put := [hunk for hunk in self.left if self._put(hunk)]):
            self.left = [hunk for hunk in self.left if hunk not in put]

    def _put(self, hunk: Hunk) -> bool:
        spot = find(hunk, self.texts)
        if spot is None or any(_meet(spot, other) for other, _ in self.edits[spot.path].places):
            return False
        if self.python:
            fixed = [self.homes.fixed(line, self.moved.path, spot.path) for line in hunk.added]
            lines = tuple(line for line in fixed if line is not None)
            imports = self._needed(hunk, spot.path)
            if imports is None or len(lines) < len(fixed):
                return False
            self.edits[spot.path].imports += imports
            self.edits[spot.path].places.append((spot, replace(hunk, added=lines)))
        else:
            self.edits[spot.path].places.append((spot, hunk))
        return True

    def _needed(self, hunk: Hunk, path: str) -> list[Import] | None:
        """Return the imports that the added lines need in the file at `path`; None when a name is gone."""
        result = []
        here = self.modules[path].names | self._added_names(path)
        inner = self.mine.local_names(hunk.first)
        for name in sorted(_used(hunk.added) - here):
            if name not in inner and (name in self.mine.names or name in self.base.names):
                imported = self._imported(name, path)
                if imported is None:
                    return None
                result.append(imported)
            elif not self._is_known(name, path):
                return None
        return result

    def _imported(self, name: str, path: str) -> Import | None:
        """Return the import, for the file at `path`, of a name from the top of the old file; None when the name is gone."""
        imported = self.mine.imports.get(name) or self.base.imports.get(name)
        if imported is not None:
            return self.homes.relocated(imported, self.moved.path, path)
        home = self.homes.defining_module(name, self.moved.path)
        if home is None:
            home = next((place for place in self.edits if name in self._added_names(place)), None)
        return None if home is None else self.homes.import_of(name, home, path)

    def _added_names(self, path: str) -> set[str]:
        """Return the names that edits define at the top of the file at `path`."""
        lines = [hunk.added for _, hunk in self.edits[path].places if not hunk.scope]
        return {name for added in lines for name in Module(_dedented(added)).defined}

    def _is_known(self, name: str, path: str) -> bool:
        """Return whether a name is a builtin or occurs in the file at `path`, such as a local name."""
        text = next(text for text in self.texts if text.path == path)
        return name in _BUILTINS or re.search(rf"\b{re.escape(name)}\b", text.content) is not None

    def _import(self, imports: Sequence[Import]) -> None:
        """Add the user's new imports that no edit needed to the file that has most of the old text."""
        brought = {imported.name for edits in self.edits.values() for imported in edits.imports}
        unused = {name for hunk in self.left for name in _used(hunk.added)}
        for imported in imports:
            if imported.name in brought or any(
                imported.name in self.modules[path].names for path in self.edits
            ):
                continue
            path = None if imported.name in unused else self._main()
            relocated = self.homes.relocated(imported, self.moved.path, path) if path else None
            if path and relocated:
                self.edits[path].imports.append(relocated)
            else:
                self.left.append(_hunk_of(imported, self.mine))

    def _main(self) -> str | None:
        old = {line.strip() for line in self.moved.base.splitlines() if line.strip()}
        counts = {text.path: len(old & set(text.stripped_lines)) for text in self.texts}
        return max(counts, key=lambda path: counts[path], default=None)

    def _written(self, path: str, edits: _Edits) -> str:
        lines = list(next(text for text in self.texts if text.path == path).lines)
        order = sorted(edits.places, key=lambda edit: (edit[0].first, edit[1].first))
        for spot, hunk in reversed(order):
            lines[spot.first : spot.last] = shifted(hunk.added, spot.shift)
        text = "".join(lines)
        return Module(text).with_imports(_statements(edits.imports)) if self.python else text


def _edits(moved: Moved) -> list[Hunk]:
    """Return the edits without import statements at the top."""
    hunks = hunks_of(moved.path, moved.base, moved.mine)
    if not moved.path.endswith(".py"):
        return hunks
    existing, base = Module(moved.mine).import_lines, Module(moved.base).import_lines
    rest = [
        replace(
            hunk,
            removed=_but(hunk.removed, hunk.at, base),
            added=_but(hunk.added, hunk.first - 1, existing),
        )
        for hunk in hunks
    ]
    return [hunk for hunk in rest if not hunk.is_blank]


def _but(lines: tuple[str, ...], first: int, imports: set[int]) -> tuple[str, ...]:
    """Return the lines that are not import statements."""
    return tuple(line for index, line in enumerate(lines, start=first) if index not in imports)


def _new_imports(moved: Moved) -> list[Import]:
    """Return the names that the user imports and the generator did not."""
    if not moved.path.endswith(".py"):
        return []
    base, existing = Module(moved.base).imports, Module(moved.mine).imports
    old_lines = {item.line for name, item in existing.items() if name in base}
    new = [item for name, item in existing.items() if name not in base]
    return [replace(item, line="") if item.line in old_lines else item for item in new]


def _statements(imports: Iterable[Import]) -> list[str]:
    """Return import statements for these names; a statement that the user wrote is kept as written."""
    result = []
    for imported in imports:
        whole = imported.line and not imported.line.startswith(" ")
        result.append(imported.line if whole else imported.statement)
    return list(dict.fromkeys(result))


def _hunk_of(imported: Import, module: Module) -> Hunk:
    number = module.lines.index(imported.line) + 1 if imported.line in module.lines else 1
    return Hunk(number, 0, (), (imported.line or imported.statement,))


def _used(lines: Sequence[str]) -> set[str]:
    """Return the names that the lines use and do not bind."""
    try:
        tree = ast.parse(_dedented(lines))
    except (SyntaxError, ValueError):
        return set()
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in nodes if not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= set(Module(_dedented(lines)).names)
    return {node.id for node in nodes if isinstance(node.ctx, ast.Load)} - bound


def _dedented(lines: Sequence[str]) -> str:
    return textwrap.dedent("".join(lines))


def _meet(spot: Spot, other: Spot) -> bool:
    """Return whether two edits would change the same lines."""
    if spot.path != other.path:
        return False
    return spot.first < other.last and other.first < spot.last
