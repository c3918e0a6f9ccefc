"""Carry a person's edits of files that moved into the files that hold the text now."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from targcc_gen.sync.renames.hunks import Hunk, hunks_of, statements_of
from targcc_gen.sync.renames.imports import Homes, Import, Module
from targcc_gen.sync.renames.places import Spot, Target, find, shifted

_BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True)
class Moved:
    """A file that is no more where it was, and that a person edited there.

    Attributes:
        path: Where it was.
        base: The generator's text of it.
        mine: The person's.
        targets: Where its text is now.
    """

    path: str
    base: str
    mine: str
    targets: tuple[str, ...]


@dataclass
class _Edits:
    """What goes into one file.

    Attributes:
        places: The hunks, each with its place.
        imports: What has to be imported for them.
    """

    places: list[tuple[Spot, Hunk]] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)


@dataclass(frozen=True)
class Carried:
    """What became of the edits of one file.

    Attributes:
        texts: The files that take edits, by path.
        left: The edits that fit nowhere.
    """

    texts: dict[str, str]
    left: tuple[Hunk, ...]


def carry(moved: Moved, homes: Homes) -> Carried:
    """Put each edit into the file that holds the lines around it.

    Args:
        moved: The file.
        homes: The files there are now.
    """
    return _Carrier(moved, homes).carried()


def without_imports(moved: Moved, homes: Homes) -> str:
    """The person's text with the import statements that the generator wrote, for a file that moved as a whole."""
    base = moved.base.splitlines(keepends=True)
    mine = moved.mine.splitlines(keepends=True)
    before, after = Module(moved.base), Module(moved.mine)
    if before.differs(after):
        return moved.mine  # an import that the person changed is an edit like any other
    old_imports, new_imports = before.import_lines, after.import_lines
    for hunk in reversed(hunks_of(moved.path, moved.base, moved.mine)):
        start = hunk.first - 1
        kept = [base[n] for n in range(hunk.at, hunk.at + len(hunk.removed)) if n in old_imports]
        added = [mine[n] for n in range(start, hunk.last) if n not in new_imports]
        fixed = [homes.fixed(line, moved.path, moved.targets[0]) or line for line in added]
        base[hunk.at : hunk.at + len(hunk.removed)] = [*kept, *fixed]
    return "".join(base)


def with_imports(text: str, moved: Moved, homes: Homes) -> str:
    """The merged text of a file that moved as a whole, with what the person imports, and what the person's lines need.

    Args:
        text: The text at its new place.
        moved: The file.
        homes: The files there are now.
    """
    if not moved.path.endswith(".py"):
        return text
    module, base = Module(text), Module(moved.base)
    used = {name for hunk in _edits(moved) for name in _used(hunk.added)}
    needed = [one for name, one in base.imports.items() if name in used]
    wanted = [one for one in [*_new_imports(moved), *needed] if one.name not in module.names]
    places = [homes.relocated(one, moved.path, moved.targets[0]) for one in wanted]
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
            _hunk_of(one, self.mine) for name, one in self.mine.imports.items() if name in changed
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
        """Whether a module is still one."""
        return not self.python or Module(text).is_valid or not self.modules[path].is_valid

    def _put_all(self) -> None:
        """Put what fits; an edit may need what another one defines."""
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
        """The imports without which the added lines would not run in the file at `path`; None when a name is gone."""
        found = []
        here = self.modules[path].names | self._added_names(path)
        inner = self.mine.local_names(hunk.first)
        for name in sorted(_used(hunk.added) - here):
            if name not in inner and (name in self.mine.names or name in self.base.names):
                one = self._imported(name, path)
                if one is None:
                    return None
                found.append(one)
            elif not self._is_known(name, path):
                return None
        return found

    def _imported(self, name: str, path: str) -> Import | None:
        """How the file at `path` gets a name that the old file had at its top."""
        one = self.mine.imports.get(name) or self.base.imports.get(name)
        if one is not None:
            return self.homes.relocated(one, self.moved.path, path)
        home = self.homes.found(name, self.moved.path)
        if home is None:
            home = next((place for place in self.edits if name in self._added_names(place)), None)
        return None if home is None else self.homes.import_of(name, home, path)

    def _added_names(self, path: str) -> set[str]:
        """The names that edits define at the top of the file at `path`."""
        lines = [hunk.added for _, hunk in self.edits[path].places if not hunk.scope]
        return {name for added in lines for name in Module(_dedented(added)).defined}

    def _is_known(self, name: str, path: str) -> bool:
        """Whether a name that no module has at its top may be one of the function the lines are in."""
        text = next(text for text in self.texts if text.path == path)
        return name in _BUILTINS or re.search(rf"\b{re.escape(name)}\b", text.content) is not None

    def _import(self, imports: Sequence[Import]) -> None:
        """Bring what the person imports, and no edit asked for, to the file that has most of the old text."""
        brought = {one.name for edits in self.edits.values() for one in edits.imports}
        unused = {name for hunk in self.left for name in _used(hunk.added)}
        for one in imports:
            if one.name in brought or any(
                one.name in self.modules[path].names for path in self.edits
            ):
                continue
            path = None if one.name in unused else self._main()
            there = self.homes.relocated(one, self.moved.path, path) if path else None
            if path and there:
                self.edits[path].imports.append(there)
            else:
                self.left.append(_hunk_of(one, self.mine))

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
    """The edits but those of import statements at the top."""
    hunks = hunks_of(moved.path, moved.base, moved.mine)
    if not moved.path.endswith(".py"):
        return hunks
    mine, base = Module(moved.mine).import_lines, Module(moved.base).import_lines
    rest = [
        replace(
            hunk,
            removed=_but(hunk.removed, hunk.at, base),
            added=_but(hunk.added, hunk.first - 1, mine),
        )
        for hunk in hunks
    ]
    return [hunk for hunk in rest if not hunk.is_blank]


def _but(lines: tuple[str, ...], first: int, imports: set[int]) -> tuple[str, ...]:
    """The lines that are no import statements."""
    return tuple(line for index, line in enumerate(lines, start=first) if index not in imports)


def _new_imports(moved: Moved) -> list[Import]:
    """The names that the person imports and the generator did not."""
    if not moved.path.endswith(".py"):
        return []
    base, mine = Module(moved.base).imports, Module(moved.mine).imports
    old_lines = {one.line for name, one in mine.items() if name in base}
    new = [one for name, one in mine.items() if name not in base]
    return [replace(one, line="") if one.line in old_lines else one for one in new]


def _statements(imports: Iterable[Import]) -> list[str]:
    """The statements that import these names; one that the person wrote is kept as it is."""
    found = []
    for one in imports:
        whole = one.line and not one.line.startswith(" ")
        found.append(one.line if whole else one.statement)
    return list(dict.fromkeys(found))


def _hunk_of(one: Import, module: Module) -> Hunk:
    number = module.lines.index(one.line) + 1 if one.line in module.lines else 1
    return Hunk(number, 0, (), (one.line or one.statement,))


def _used(lines: Sequence[str]) -> set[str]:
    """The names that the lines use and do not bind themselves."""
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


def _meet(one: Spot, other: Spot) -> bool:
    """Whether two edits would change the same lines."""
    if one.path != other.path:
        return False
    return one.first < other.last and other.first < one.last
