"""Merge three versions of a spec by key; keys changed differently by both sides are left to a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from targcc_gen.errors import InputError
from targcc_gen.names import JobName
from targcc_gen.spec.dump import entry_lines
from targcc_gen.spec.errors import SpecErrors
from targcc_gen.spec.loader import marked, parse_tree
from targcc_gen.spec.nodes import Node
from targcc_gen.spec.splice import BOM, LINES, first_line, last_line, newline_of

# Parts of a spec's text: the lines and the value of each key of a mapping.


@dataclass(frozen=True)
class Part:
    """A key and its value.

    Attributes:
        lines: The lines of the whole file.
        name: The node of the key.
        value: The node of the value.
    """

    lines: list[str]
    name: Node
    value: Node

    @cached_property
    def first(self) -> int:
        """The number of the part's first line, comments directly above included."""
        return first_line(self.lines, self.name)

    @cached_property
    def last(self) -> int:
        """The number of the part's last line."""
        return last_line(self.lines, self.name, self.value)

    @cached_property
    def text(self) -> list[str]:
        """The part's lines."""
        return self.lines[self.first : self.last + 1]

    @cached_property
    def data(self) -> Any:
        """The plain value."""
        return self.value.data()

    @property
    def is_block(self) -> bool:
        """Whether the value is a mapping in block style, its keys on lines below."""
        value = self.value
        is_mapping = value.kind == "mapping" and bool(value.entries) and not value.style
        return is_mapping and not value.alias and value.start.line > self.name.start.line

    def inside(self, key_of: Callable[[str], str]) -> Block:
        """Return the keys of the value as a block; `key_of` gives the name by which versions of a key are matched."""
        parts = {key_of(key): Part(self.lines, *entry) for key, entry in self.value.entries.items()}
        return Block(self.lines, parts, self.lines[list(parts.values())[-1].last + 1 : self.end])

    @property
    def end(self) -> int:
        """The number of the line after the part."""
        return self.last + 1

    @property
    def head(self) -> list[str]:
        """The part's lines above its first inner key; without inner keys, the lines down to the key."""
        if not self.is_block:
            return self.lines[self.first : self.name.start.line + 1]
        first = Part(self.lines, *next(iter(self.value.entries.values())))
        return self.lines[self.first : first.first]

    def at_column(self, column: int) -> list[str]:
        """Return the part's lines, indented so that the key stands at `column`."""
        shift = column - self.name.start.column
        if shift >= 0:
            return [" " * shift + line if line.strip() else line for line in self.text]
        return [line[-shift:] if not line[:-shift].strip(" ") else line for line in self.text]


class Whole(Part):
    """A whole file; its value is the mapping at the root."""

    @property
    def end(self) -> int:
        """The number of lines of the file."""
        return len(self.lines)

    @property
    def head(self) -> list[str]:
        """The lines above the first key."""
        return self.lines[: Part(self.lines, *next(iter(self.value.entries.values()))).first]


@dataclass(frozen=True)
class Block:
    """The keys of a mapping, in order.

    Attributes:
        lines: The lines of the whole file.
        parts: Parts by key.
        tail: The lines below the last key that belong to the mapping.
    """

    lines: list[str]
    parts: dict[str, Part]
    tail: list[str]

    def gap_above(self, key: str) -> list[str]:
        """Return the lines between a key and the previous key: blank lines and detached comments."""
        keys = list(self.parts)
        index = keys.index(key)
        if index == 0:
            return []
        return self.lines[self.parts[keys[index - 1]].last + 1 : self.parts[key].first]

    @property
    def column(self) -> int:
        """The column of the mapping's keys."""
        return next(iter(self.parts.values())).name.start.column


# Merge by key.

Path = tuple[str, ...]


@dataclass(frozen=True)
class Disputed:
    """A key that both sides changed differently.

    Attributes:
        path: The key's path: `jobs`, `Daily`, `retries`.
        ours: Our side's value, None if our side removed the key.
        theirs: The other side's value, None if the other side removed the key.
    """

    path: Path
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class MergedSpec:
    """Two versions of a spec, merged.

    Attributes:
        text: The spec; a disputed key has both versions between git's markers.
        disputed: The keys left to a person.
        taken: The changes taken from each side, in words.
        names: The names of both sides.
    """

    text: str
    disputed: tuple[Disputed, ...]
    taken: tuple[str, ...]
    names: tuple[str, str]


class Unmergeable(InputError):  # noqa: N818 - an error for people, with what they can do
    """The versions cannot be merged by key: a version is not YAML, or is written in braces."""

    code = "TG112"


def merge_specs(
    base: str | None, ours: str, theirs: str, *, names: tuple[str, str] = ("", "")
) -> MergedSpec:
    """Merge two versions of a spec.

    Args:
        base: The common ancestor; without an ancestor, a key of one side alone counts as added.
        ours: Our version; the result keeps its line endings and order.
        theirs: The other version.
        names: The names of both sides in markers.

    Raises:
        Unmergeable: The versions cannot be merged by key.
    """
    newline = newline_of(ours)
    ours_root, theirs_root = _root(ours, "our"), _root(theirs, "the other")
    try:
        base_root = None if base is None else _root(base, "the older")
    except Unmergeable:
        base_root = None
    merging = _Merging(names)
    lines = merging.merged((), base_root, ours_root, theirs_root)
    result = "".join([*ours_root.head, *lines])
    if not merging.disputed:
        _verify(result, merging, (base_root, ours_root, theirs_root))
    if newline != "\n":
        result = result.replace("\n", newline)
    start = BOM if ours.startswith(BOM) else ""
    named = names[0] or "ours", names[1] or "theirs"
    return MergedSpec(start + result, tuple(merging.disputed), tuple(merging.taken), named)


def _root(text: str, whose: str) -> Part:
    """Parse a version and return the whole file as a part."""
    text = text.removeprefix(BOM).replace("\r\n", "\n")
    text += "" if text.endswith("\n") else "\n"
    try:
        node, problems = parse_tree(text, "targcc.yaml")
    except SpecErrors as error:
        raise _unmergeable(f"{whose} version is no spec:\n{error.message}") from error
    if problems:
        raise _unmergeable(f"{whose} version has a key twice: {problems[0].message}")
    if node.style == "{" or not node.entries:
        raise _unmergeable(f"{whose} version is written in braces")
    return Whole(LINES.findall(text), Node("scalar", node.start, node.start), node)


def _unmergeable(problem: str) -> Unmergeable:
    return Unmergeable(
        f"targcc.yaml: git left conflict markers, and they cannot be merged by key: {problem}",
        hint="edit the lines between the markers, then run: targcc-gen regenerate",
    )


def _verify(text: str, merging: _Merging, versions: tuple[Part | None, Part, Part]) -> None:
    """Check that the merged text has the merged values. Anchors in the merged lines can change the values."""
    base, ours, theirs = versions
    expected = merging.data((), None if base is None else base.data, ours.data, theirs.data)
    if _root(text, "the merged").data != expected:
        raise _unmergeable("lines of one side mean something else beside the other's")


def _keys(path: Path) -> Callable[[str], str]:
    return _job_key if path == ("jobs",) else str


def _job_key(written: str) -> str:
    try:
        return JobName.parse(written).key.casefold()
    except InputError:
        return written


@dataclass
class _Merging:
    """The state of a merge: disputed keys and changes taken so far."""

    names: tuple[str, str]
    disputed: list[Disputed] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    def merged(self, path: Path, base: Part | None, ours: Part, theirs: Part) -> list[str]:
        """Merge the keys of a mapping and return the lines."""
        keys = _keys(path)
        own, other = ours.inside(keys), theirs.inside(keys)
        before = {} if base is None else base.inside(keys).parts
        if _is_reordered(list(before), list(own.parts), list(other.parts)):
            skeleton, guest = other, own
        else:
            skeleton, guest = own, other
        result = _Lines(skeleton)
        for key in skeleton.parts:
            versions = before.get(key), own.parts.get(key), other.parts.get(key)
            result.put(key, self._entry(path, *versions, column=skeleton.column))
        for key in guest.parts:
            if key not in skeleton.parts:
                versions = before.get(key), own.parts.get(key), other.parts.get(key)
                result.insert(key, self._entry(path, *versions, column=skeleton.column), guest)
        return result.lines()

    def _entry(
        self, path: Path, base: Part | None, ours: Part | None, theirs: Part | None, *, column: int
    ) -> list[str]:
        """Merge a key and return its lines; empty if the key is removed."""
        known = ours or theirs or base
        assert known is not None  # the key comes from one of the three versions
        here = (*path, known.name.text)
        if ours is None or theirs is None:
            return self._one_sided(here, base, ours, theirs, column)
        if _same(ours, theirs):
            return ours.at_column(column)
        if _same(base, theirs):
            return self._from(here, ours, 0, column)
        if _same(base, ours):
            return self._from(here, theirs, 1, column)
        if ours.is_block and theirs.is_block:
            return self._nested(here, base, ours, theirs, column)
        return self._leaf(here, base, ours, theirs, column)

    def _nested(
        self, here: Path, base: Part | None, ours: Part, theirs: Part, column: int
    ) -> list[str]:
        inner = base if base is not None and base.value.kind == "mapping" else None
        before = len(self.disputed)
        lines = self.merged(here, inner, ours, theirs)
        if here[:-1] == ("jobs",) and len(self.disputed) == before:
            self.taken.append(f"{here[-1]}: what each side changed")
        part = theirs if base is not None and ours.head == base.head else ours
        return [*_shifted(part.head, column - part.name.start.column), *lines]

    def _leaf(
        self, here: Path, base: Part | None, ours: Part, theirs: Part, column: int
    ) -> list[str]:
        was = None if base is None else base.data
        if ours.data == theirs.data or (base is not None and theirs.data == was):
            return ours.at_column(column)
        if base is not None and ours.data == was:
            return theirs.at_column(column)
        data = self.data(here, was, ours.data, theirs.data)
        if data is not None:
            return [" " * column + line + "\n" for line in entry_lines(ours.name.text, data)]
        self.disputed.append(Disputed(here, ours.data, theirs.data))
        return marked(ours.at_column(column), theirs.at_column(column), self.names)

    def _one_sided(
        self, here: Path, base: Part | None, ours: Part | None, theirs: Part | None, column: int
    ) -> list[str]:
        """Merge a key that one side lacks: added by the other side, removed, or disputed. Return the lines."""
        part, side = (theirs, 1) if ours is None else (ours, 0)
        if part is None:
            self._record(here, "removed by both sides", 0)
            return []
        if base is None:
            self._record(here, "added", side)
            return part.at_column(column)
        if part.data == base.data:
            self._record(here, "removed", 1 - side)
            return []
        self.disputed.append(Disputed(here, ours and ours.data, theirs and theirs.data))
        lines = part.at_column(column)
        return marked(lines if side == 0 else [], lines if side else [], self.names)

    def _from(self, here: Path, part: Part, side: int, column: int) -> list[str]:
        """Record a key that one side alone changed, and return the lines."""
        self._record(here, "changed", side)
        return part.at_column(column)

    def _record(self, here: Path, what: str, side: int) -> None:
        whose = self.names[side] or ("our side", "the other side")[side]
        if here[0] != "jobs" or len(here) <= 2:  # noqa: PLR2004 - a job, and not a key of one
            shown = here[1] if here[0] == "jobs" and len(here) > 1 else ".".join(here)
            words = what if what.endswith("sides") else f"{what} by {whose}"
            self.taken.append(f"{shown}: {words}")

    def data(self, here: Path, base: Any, ours: Any, theirs: Any) -> Any:
        """Merge three values; None if the values are disputed."""
        if ours == theirs or (base is not None and theirs == base):
            return ours
        if base is not None and ours == base:
            return theirs
        if isinstance(ours, dict) and isinstance(theirs, dict):
            return self._mapping(here, base if isinstance(base, dict) else {}, ours, theirs)
        if isinstance(ours, list) and isinstance(theirs, list) and isinstance(base, list):
            return _list(base, ours, theirs)
        return None

    def _mapping(
        self, here: Path, base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
    ) -> dict[str, Any] | None:
        keys = _keys(here)
        versions = [
            {keys(key): (key, value) for key, value in version.items()}
            for version in (base, ours, theirs)
        ]
        before, own, other = versions
        result: dict[str, Any] = {}
        for key in dict.fromkeys([*own, *other]):
            was = before.get(key, (key, None))[1]
            if key in own and key in other:
                name = own[key][0]
                value = self.data((*here, name), was, own[key][1], other[key][1])
                if value is None and not (own[key][1] is None or other[key][1] is None):
                    return None
            else:
                name, value = own.get(key) or other[key]
                if key in before:
                    if value != was:
                        return None
                    continue
            result[name] = value
        return result


def _same(part: Part | None, other: Part | None) -> bool:
    return part is not None and other is not None and part.text == other.text


def _list(base: list[Any], ours: list[Any], theirs: list[Any]) -> list[Any] | None:
    """Merge a list to which both sides appended; None after any other change."""
    size = len(base)
    if ours[:size] != base or theirs[:size] != base:
        return None
    return [*ours, *(item for item in theirs[size:] if item not in ours)]


def _shifted(lines: list[str], shift: int) -> list[str]:
    if shift >= 0:
        return [" " * shift + line for line in lines]
    return [line[-shift:] for line in lines]


def _is_reordered(base: list[str], ours: list[str], theirs: list[str]) -> bool:
    """Whether only the other side changed the order of the keys."""
    known = set(base) & set(ours) & set(theirs)
    was, own, other = ([key for key in version if key in known] for version in (base, ours, theirs))
    return own == was and other != was


class _Lines:
    """Collects the lines of a merged mapping, key by key.

    Args:
        skeleton: The version that gives the order and the blank lines.
    """

    def __init__(self, skeleton: Block) -> None:
        self.skeleton = skeleton
        self.chunks: dict[str, list[str]] = {}
        self.order: list[str] = []

    def put(self, key: str, lines: list[str]) -> None:
        """Append a key of the skeleton."""
        self.order.append(key)
        self.chunks[key] = [*self.skeleton.gap_above(key), *lines] if lines else []

    def insert(self, key: str, lines: list[str], guest: Block) -> None:
        """Insert a key of the other version, behind the key before it there and behind keys inserted earlier."""
        keys = list(guest.parts)
        before = [earlier for earlier in keys[: keys.index(key)] if earlier in self.chunks]
        place = self.order.index(before[-1]) + 1 if before else 0
        while place < len(self.order) and self.order[place] not in guest.parts:
            place += 1
        self.order.insert(place, key)
        gap = guest.gap_above(key) if place else []
        blank = [line for line in gap if not line.strip()]
        self.chunks[key] = [*(gap if len(gap) != len(blank) else blank), *lines] if lines else []

    def lines(self) -> list[str]:
        """Return all lines."""
        return [*self._spaced(), *self.skeleton.tail]

    def _spaced(self) -> Iterator[str]:
        is_first = True
        for key in self.order:
            chunk = self.chunks[key]
            while is_first and chunk and not chunk[0].strip():
                chunk = chunk[1:]
            yield from chunk
            is_first = is_first and not chunk
