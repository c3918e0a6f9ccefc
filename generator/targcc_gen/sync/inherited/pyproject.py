"""Bring what is new in the generator's pyproject.toml into a person's, by key and by requirement.

What only the generator changed is taken over, what only the person changed stays, and where both did the person's stays. A key or a
requirement that the person removed stays removed. Everything else stays byte for byte: order, comments, line breaks.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from targcc_gen.sync.inherited import arrays
from targcc_gen.sync.merging.merge import merge

_MISSING = object()
_REQUIREMENTS = (
    ("build-system", "requires"),
    ("project", "dependencies"),
    ("project", "optional-dependencies"),
    ("dependency-groups",),
)


@dataclass(frozen=True)
class Followed:
    """A person's pyproject.toml with what is new.

    Attributes:
        text: The text; the person's stands where both changed the same.
        wanted: The same with the generator's at these places: what the person may want to write.
    """

    text: bytes
    wanted: bytes


def follow(base: bytes, mine: bytes, generated: bytes) -> Followed | None:
    """Bring the changes from `base` to `generated` into the person's text.

    Returns:
        The texts, or None where a text is no TOML, or is written in a way that cannot be edited without harm.
    """
    text = _followed(base, mine, generated, force=False)
    wanted = _followed(base, mine, generated, force=True)
    return None if text is None or wanted is None else Followed(text, wanted)


def _followed(base: bytes, mine: bytes, generated: bytes, *, force: bool) -> bytes | None:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(mine.decode())
        _Follower(force=force).table(
            tomlkit.parse(base.decode()), document, tomlkit.parse(generated.decode()), ()
        )
        text = tomlkit.dumps(document)
    except (TOMLKitError, ValueError):
        return None
    wanted = _plain(document)
    merged = merge(base, mine, generated)
    if not merged.collisions and _says(merged.text, wanted):
        return merged.text  # by lines it comes out the same, with the generator's comments
    content = _without_old_comments(base, text, generated).encode()
    if mine.endswith(b"\n") and not mine.endswith(b"\n\n"):
        content = content.rstrip(b"\n") + b"\n"  # the last table may be gone
    return content if _says(content, wanted) else None


class _Follower:
    """Edits a document.

    Args:
        force: Whether the generator's counts where both changed the same.
    """

    def __init__(self, *, force: bool) -> None:
        self.force = force

    def table(
        self,
        base: Mapping[str, Any],
        mine: MutableMapping[str, Any],
        generated: Mapping[str, Any],
        place: tuple[str, ...],
    ) -> None:
        """Edit one table, and those in it."""
        for key in dict.fromkeys([*generated, *base]):
            old, new = base.get(key, _MISSING), generated.get(key, _MISSING)
            if not _same(old, new):
                self._key(mine, key, old, new, (*place, key))

    def _key(
        self, mine: MutableMapping[str, Any], key: str, old: Any, new: Any, place: tuple[str, ...]
    ) -> None:
        here = mine.get(key, _MISSING)
        if _same(here, new) or (here is _MISSING and old is not _MISSING):
            return
        is_untouched = here is _MISSING or _same(here, old)
        there = [one for one in (old, new) if one is not _MISSING]
        if _are(Mapping, here, *there) and not (is_untouched and new is _MISSING):
            self.table(_or(old, {}), here, _or(new, {}), place)
        elif _are(list, here, new, *there):
            mine[key] = self._list(_or(old, []), here, new, place)
        elif not is_untouched and not self.force:
            return
        elif new is _MISSING:
            del mine[key]
        else:
            mine[key] = copy.deepcopy(new)

    def _list(self, base: Any, mine: Any, generated: Any, place: tuple[str, ...]) -> Any:
        edit = _List(base, mine, generated, by_name=_is_requirements(place), force=self.force)
        return _array(edit.edited())


class _List:
    """An array, element by element; a requirement is known by its name, everything else by itself."""

    def __init__(self, base: Any, mine: Any, generated: Any, *, by_name: bool, force: bool) -> None:
        self.force = force
        self.by_name = by_name
        self.text: str = mine.as_string()
        self.base = self._named(base)
        self.generated = self._named(generated)
        self.new = dict(
            zip(self._names(generated), arrays.elements(generated.as_string()), strict=True)
        )

    def edited(self) -> str:
        """The person's array with what is new."""
        before = ""
        for name in self.generated:
            if not _same(self.base.get(name, _MISSING), self.generated[name]):
                self._changed(name, before)
            before = name
        for name in self.base:
            if name not in self.generated:
                self._left(name)
        return self.text

    def _changed(self, name: str, before: str) -> None:
        names, values = self._here()
        places = [index for index, one in enumerate(names) if one == name]
        new = self.new[name]
        if not places:
            if name not in self.base:
                near = [index for index, one in enumerate(names) if one == before]
                after = near[-1] if near else self._last(names)
                self.text = arrays.inserted(self.text, after, new)
        elif len(places) == 1:
            value = values[places[0]]
            is_mine = not _same(value, self.base.get(name, _MISSING))
            if not _same(value, self.generated[name]) and (self.force or not is_mine):
                self.text = arrays.replaced(self.text, places[0], new.text)

    def _left(self, name: str) -> None:
        names, values = self._here()
        places = [index for index, one in enumerate(names) if one == name]
        if len(places) == 1 and (self.force or _same(values[places[0]], self.base[name])):
            self.text = arrays.removed(self.text, places[0])

    def _last(self, names: Sequence[str]) -> int:
        """Where an element goes whose neighbour is gone: behind the last one that the generator has too."""
        known = [index for index, name in enumerate(names) if name in self.generated]
        return known[-1] if known else len(names) - 1

    def _here(self) -> tuple[list[str], list[Any]]:
        array = _array(self.text)
        return self._names(array), array.unwrap()

    def _named(self, array: Any) -> dict[str, Any]:
        return dict(zip(self._names(array), _plain(array), strict=True))

    def _names(self, array: Any) -> list[str]:
        return [_name(value) if self.by_name else repr(value) for value in _plain(array)]


def _name(value: Any) -> str:
    """What a requirement is about, however it is spelled; of what is none, itself."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    if not isinstance(value, str):
        return repr(value)
    try:
        return canonicalize_name(Requirement(value).name)
    except InvalidRequirement:
        return value


def _is_requirements(place: tuple[str, ...]) -> bool:
    return any(place[: len(one)] == one for one in _REQUIREMENTS)


def _array(text: str) -> Any:
    import tomlkit

    return tomlkit.parse(f"array = {text}\n")["array"]


def _without_old_comments(base: bytes, text: str, generated: bytes) -> str:
    """The text without the lines of comment that the generator wrote once and has no more."""
    old = _comments(base.decode()) - _comments(generated.decode())
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() not in old)


def _comments(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.startswith("#")}


def _says(text: bytes, wanted: Any) -> bool:
    """Whether a text is TOML that says this, whatever the order of its lists."""
    import tomllib

    try:
        return bool(_sorted(tomllib.loads(text.decode())) == _sorted(wanted))
    except ValueError:
        return False


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(one) for key, one in value.items()}
    return sorted(map(repr, value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return value.unwrap() if hasattr(value, "unwrap") else value


def _same(one: Any, other: Any) -> bool:
    return bool(_plain(one) == _plain(other))


def _are(kind: type, *values: Any) -> bool:
    return all(isinstance(value, kind) for value in values)


def _or(value: Any, other: Any) -> Any:
    return other if value is _MISSING else value
