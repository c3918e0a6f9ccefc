"""Merge the generator's pyproject.toml into a user's, by key and by requirement.

A value that only the generator changed is taken over. A value that the user changed stays. A key or requirement that the user removed
stays removed; a list from which the user removed everything stays as it is. The scheduler's own requirement is removed in whatever form it
is written. Everything else stays byte for byte: order, comments, line breaks.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from targcc_gen.render.package import DISTRIBUTION
from targcc_gen.sync.merge import merge

# Edit an array of a TOML document as text, keeping comments and line breaks.

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''.*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{},]"
    r"|\s+"
    r"|[^\s\[\]{},#\"']+",
    re.DOTALL,
)


@dataclass(frozen=True)
class Element:
    """An element of an array.

    Attributes:
        text: Source of the element.
        start: Index of the first character in the array's text.
        end: Index after the last character.
        comma: Index after the comma behind the element; None without a comma.
        comment: The comment behind the element on the same line.
    """

    text: str
    start: int
    end: int
    comma: int | None = None
    comment: str = ""


def elements(array: str) -> list[Element]:
    """Return the elements of an array, in order.

    Args:
        array: Source of the array, from `[` to `]`.
    """
    result: list[Element] = []
    start, depth, line_is_over = None, 0, False
    last = 0
    for word, begin, end in _tokens(array):
        if word.isspace():
            line_is_over = line_is_over or "\n" in word
        elif word.startswith("#"):
            if result and start is None and not line_is_over:
                result[-1] = _with(result[-1], comment=word)
        elif depth == 1 and word in {",", "]"}:
            if start is not None:
                result.append(Element(array[start:last], start, last))
                start, line_is_over = None, False
            if word == "," and result:
                result[-1] = _with(result[-1], comma=end)
                line_is_over = False
            depth -= word == "]"
        else:
            if depth and start is None:
                start = begin
            depth += (word in {"[", "{"}) - (word in {"]", "}"})
            last = end
    return result


def replaced(array: str, index: int, text: str) -> str:
    """Return the array with one element's text replaced."""
    element = elements(array)[index]
    return array[: element.start] + text + array[element.end :]


def removed(array: str, index: int) -> str:
    """Return the array without one element, and without the element's line where nothing else is on the line."""
    all_elements = elements(array)
    element = all_elements[index]
    first, last = _line_start(array, element.start), _line_end(array, element.comma or element.end)
    alone = not array[first : element.start].strip() and not _code(
        array[element.comma or element.end : last]
    )
    if alone and last < len(array):
        return array[:first] + array[last + 1 :]
    if index + 1 < len(all_elements):
        return array[: element.start] + array[all_elements[index + 1].start :]
    before = all_elements[index - 1].end if index else element.start
    return array[:before] + array[element.end :]


def inserted(array: str, after: int, new: Element) -> str:
    """Return the array with one element added.

    Args:
        array: Source of the array.
        after: Index of the preceding element; -1 for the first place.
        new: Text of the element, and a comment to add where the element gets its own line.
    """
    all_elements = elements(array)
    if not all_elements:
        return (
            f"[{new.text}]" if not _code(array[1:-1]) and "\n" not in array else _only(array, new)
        )
    near = all_elements[max(after, 0)]
    first = _line_start(array, near.start)
    if first == 0 or array[first : near.start].strip():
        return _inline(array, near, new, first=after < 0)
    indent = array[first : near.start]
    line = f"{indent}{new.text},{f'  {new.comment}' if new.comment else ''}\n"
    if after < 0:
        return array[:first] + line + array[first:]
    if near.comma is None:
        array = f"{array[: near.end]},{array[near.end :]}"
        near = _with(near, comma=near.end + 1)
    end = _line_end(array, near.comma or near.end)
    if end == len(array):  # the bracket closes on this line
        place = near.comma or near.end
        return f"{array[:place]}\n{line}{array[place:].lstrip()}"
    return f"{array[: end + 1]}{line}{array[end + 1 :]}"


def _inline(array: str, near: Element, new: Element, *, first: bool) -> str:
    if first:
        return f"{array[: near.start]}{new.text}, {array[near.start :]}"
    return f"{array[: near.end]}, {new.text}{array[near.end :]}"


def _only(array: str, new: Element) -> str:
    """Insert the first element into an array that spans lines, possibly with comments."""
    last = array.rfind("\n")
    return (
        f"{array[: last + 1]}  {new.text},\n{array[last + 1 :]}" if last >= 0 else f"[{new.text}]"
    )


def _tokens(array: str) -> Iterator[tuple[str, int, int]]:
    for match in _TOKEN.finditer(array):
        yield match.group(), match.start(), match.end()


def _with(element: Element, *, comma: int | None = None, comment: str = "") -> Element:
    return Element(
        element.text, element.start, element.end, comma or element.comma, comment or element.comment
    )


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Return the index of the line break after `index`, or of the end."""
    end = text.find("\n", index)
    return len(text) if end < 0 else end


def _code(text: str) -> str:
    """Return the text without comments and indentation."""
    return "".join(line.partition("#")[0].strip() for line in text.split("\n"))


# Merge lists: requirements are matched by name, all other elements by value.

MISSING = object()
"""Marks a missing value; None could be a value."""


class ListEdit:
    """Edits the text of one array.

    Args:
        base: The generator's last array; a tomlkit array, as the next two.
        existing: The user's array.
        generated: The generator's new array.
        by_name: Whether the array lists requirements.
        force: Whether the generator's value wins where both changed the same.
    """

    def __init__(
        self, base: Any, existing: Any, generated: Any, *, by_name: bool, force: bool
    ) -> None:
        self.force = force
        self.by_name = by_name
        self.text: str = existing.as_string()
        self.base = self._named(base)
        self.generated = self._named(generated)
        self.new = dict(zip(self._names(generated), elements(generated.as_string()), strict=True))

    def edited(self) -> str:
        """Return the user's array with the generator's changes."""
        if self._is_elsewhere() and not self.force:
            return self.text
        before = ""
        for name in self.generated:
            if not self._same(self.base.get(name, MISSING), self.generated[name]):
                self._changed(name, before)
            before = name
        for name in self.base:
            if name not in self.generated:
                self._left(name)
        return self.text

    def _is_elsewhere(self) -> bool:
        """Return whether the user removed all of the generator's requirements: the requirements are listed elsewhere."""
        return self.by_name and bool(self.base) and not set(self.base) & set(self._here()[0])

    def _changed(self, name: str, before: str) -> None:
        names, values = self._here()
        places = [index for index, candidate in enumerate(names) if candidate == name]
        new = self.new[name]
        if not places:
            if name not in self.base:
                near = [index for index, candidate in enumerate(names) if candidate == before]
                after = near[-1] if near else self._last(names)
                self.text = inserted(self.text, after, new)
        elif len(places) == 1:
            value = values[places[0]]
            is_mine = not self._same(value, self.base.get(name, MISSING))
            if not self._same(value, self.generated[name]) and (self.force or not is_mine):
                self.text = replaced(self.text, places[0], new.text)

    def _left(self, name: str) -> None:
        names, values = self._here()
        places = [index for index, candidate in enumerate(names) if candidate == name]
        goes = self.force or (
            self.by_name and name == DISTRIBUTION
        )  # even an edited requirement of the scheduler
        if len(places) == 1 and (goes or self._same(values[places[0]], self.base[name])):
            self.text = removed(self.text, places[0])

    def _last(self, names: Sequence[str]) -> int:
        """Return the insertion index for an element without its neighbour: after the last element known to the generator."""
        known = {*self.generated, *self.base}
        positions = [index for index, name in enumerate(names) if name in known]
        return positions[-1] if positions else len(names) - 1

    def _here(self) -> tuple[list[str], list[Any]]:
        array = parsed(self.text)
        return self._names(array), array.unwrap()

    def _named(self, array: Any) -> dict[str, Any]:
        return dict(zip(self._names(array), plain(array), strict=True))

    def _names(self, array: Any) -> list[str]:
        return [name_of(value) if self.by_name else repr(value) for value in plain(array)]

    def _same(self, left: Any, other: Any) -> bool:
        if not self.by_name:
            return same(left, other)
        return bool(_in_one_spelling(left) == _in_one_spelling(other))


def parsed(text: str) -> Any:
    """Parse the source of an array into a tomlkit array."""
    import tomlkit

    return tomlkit.parse(f"array = {text}\n")["array"]


def name_of(value: Any) -> str:
    """Return a requirement's canonical name; a value that is no requirement unchanged."""
    from packaging.utils import canonicalize_name

    requirement = _requirement(value)
    if requirement is None:
        return value if isinstance(value, str) else repr(value)
    return canonicalize_name(requirement.name)


def plain(value: Any) -> Any:
    """Return a value without tomlkit's layout."""
    return value.unwrap() if hasattr(value, "unwrap") else value


def same(left: Any, other: Any) -> bool:
    """Return whether two values are equal, ignoring layout."""
    return bool(plain(left) == plain(other))


def _in_one_spelling(value: Any) -> Any:
    """Return a requirement in canonical form: capitals, spaces and the order of bounds do not matter."""
    requirement = _requirement(value)
    if requirement is None:
        return value
    requirement.name = name_of(value)
    return str(requirement)


def _requirement(value: Any) -> Any:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(value) if isinstance(value, str) else None
    except InvalidRequirement:
        return None


# Merge by key.

_REQUIREMENTS = (
    ("build-system", "requires"),
    ("project", "dependencies"),
    ("project", "optional-dependencies"),
    ("dependency-groups",),
)
_SOURCES = ("tool", "uv", "sources")


@dataclass(frozen=True)
class MergedPyproject:
    """A user's pyproject.toml merged with the generator's changes.

    Attributes:
        text: The merged text; the user's value stays where both changed the same.
        wanted: The merged text with the generator's value at these places, to show as a suggestion.
    """

    text: bytes
    wanted: bytes


def merge_pyproject(base: bytes, existing: bytes, generated: bytes) -> MergedPyproject | None:
    """Merge the changes from `base` to `generated` into the user's text.

    Returns:
        The texts, or None where a text is not TOML, or cannot be edited safely.
    """
    text = _merged_text(base, existing, generated, force=False)
    wanted = _merged_text(base, existing, generated, force=True)
    return None if text is None or wanted is None else MergedPyproject(text, wanted)


def _merged_text(base: bytes, existing: bytes, generated: bytes, *, force: bool) -> bytes | None:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(existing.decode())
        sources = set(_at(document, _SOURCES) or ())
        _TableMerger(force=force).table(
            tomlkit.parse(base.decode()), document, tomlkit.parse(generated.decode()), ()
        )
        _drop_unneeded(document, sources)
        text = tomlkit.dumps(document)
    except (TOMLKitError, ValueError):
        return None
    wanted = plain(document)
    merged = merge(base, existing, generated)
    if not merged.collisions and _has_values(merged.text, wanted):
        return merged.text  # a line merge gives the same values, with the generator's comments
    content = _without_old_comments(base, text, generated).encode()
    if existing.endswith(b"\n") and not existing.endswith(b"\n\n"):
        content = content.rstrip(b"\n") + b"\n"  # the last table may be gone
    return content if _has_values(content, wanted) else None


class _TableMerger:
    """Edits a document.

    Args:
        force: Whether the generator's value wins where both changed the same.
    """

    def __init__(self, *, force: bool) -> None:
        self.force = force

    def table(
        self,
        base: Mapping[str, Any],
        existing: MutableMapping[str, Any],
        generated: Mapping[str, Any],
        place: tuple[str, ...],
    ) -> None:
        """Edit a table and its nested tables."""
        for key in dict.fromkeys([*generated, *base]):
            old, new = base.get(key, MISSING), generated.get(key, MISSING)
            if not same(old, new):
                self._key(existing, key, old, new, (*place, key))

    def _key(
        self,
        existing: MutableMapping[str, Any],
        key: str,
        old: Any,
        new: Any,
        place: tuple[str, ...],
    ) -> None:
        here = existing.get(key, MISSING)
        if same(here, new) or (here is MISSING and old is not MISSING):
            return
        is_untouched = here is MISSING or same(here, old)
        present = [value for value in (old, new) if value is not MISSING]
        is_table = _are(Mapping, here, *present) and place[:-1] != _SOURCES  # a source is one value
        if is_table and not (is_untouched and new is MISSING):
            self.table(_or(old, {}), here, _or(new, {}), place)
        elif _are(list, here, new, *present):
            existing[key] = self._list(_or(old, []), here, new, place)
        elif not is_untouched and not self.force:
            return
        elif new is MISSING:
            del existing[key]
        else:
            existing[key] = copy.deepcopy(new)

    def _list(self, base: Any, existing: Any, generated: Any, place: tuple[str, ...]) -> Any:
        by_name = _is_requirements(place)
        edit = ListEdit(base, existing, generated, by_name=by_name, force=self.force)
        return parsed(edit.edited())


def _is_requirements(place: tuple[str, ...]) -> bool:
    return any(place[: len(pattern)] == pattern for pattern in _REQUIREMENTS)


def _drop_unneeded(document: Any, taken_away: set[str]) -> None:
    """Remove new entries of `[tool.uv.sources]` whose distribution is not required by the document."""
    new = set(_at(document, _SOURCES) or ()) - taken_away
    for name in new - set(_required(document)) if new else ():
        _remove(document, (*_SOURCES, name))


def _required(document: Any) -> Iterator[str]:
    """Yield the names of all requirements."""
    for place in _REQUIREMENTS:
        requirements = plain(_at(document, place)) or []
        lists = requirements.values() if isinstance(requirements, Mapping) else [requirements]
        yield from (name_of(requirement) for several in lists for requirement in several)


def _at(document: Any, place: tuple[str, ...]) -> Any:
    """Return the value at a place, or None."""
    for key in place:
        if not isinstance(document, Mapping) or key not in document:
            return None
        document = document[key]
    return document


def _remove(document: Any, place: tuple[str, ...]) -> None:
    """Remove an entry, and the tables that are empty without the entry."""
    *above, key = place
    holder = _at(document, tuple(above))
    del holder[key]
    if above and not holder:
        _remove(document, tuple(above))


def _without_old_comments(base: bytes, text: str, generated: bytes) -> str:
    """Return the text without comment lines that the generator has dropped."""
    old = _comments(base.decode()) - _comments(generated.decode())
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() not in old)


def _comments(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.startswith("#")}


def _has_values(text: bytes, wanted: Any) -> bool:
    """Return whether a text is TOML with these values, whatever the order of its lists."""
    import tomllib

    try:
        return bool(_sorted(tomllib.loads(text.decode())) == _sorted(wanted))
    except ValueError:
        return False


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(item) for key, item in value.items()}
    return sorted(map(repr, value)) if isinstance(value, list) else value


def _are(kind: type, *values: Any) -> bool:
    return all(isinstance(value, kind) for value in values)


def _or(value: Any, other: Any) -> Any:
    return other if value is MISSING else value
