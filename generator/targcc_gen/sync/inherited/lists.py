"""Bring what is new in a list of pyproject.toml into a person's: a requirement is known by its name, all else by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from targcc_gen.render.package import DISTRIBUTION
from targcc_gen.sync.inherited import arrays

MISSING = object()
"""Where nothing is written; None cannot be told from a value."""


class ListEdit:
    """Edits the text of one array.

    Args:
        base: What the generator wrote last, as an array of tomlkit, as the others.
        mine: The person's.
        generated: What the generator writes now.
        by_name: Whether it is a list of requirements.
        force: Whether the generator's counts where both changed the same.
    """

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
        """Whether the person has taken out all that was here: they keep their requirements in another place."""
        return self.by_name and bool(self.base) and not set(self.base) & set(self._here()[0])

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
            is_mine = not self._same(value, self.base.get(name, MISSING))
            if not self._same(value, self.generated[name]) and (self.force or not is_mine):
                self.text = arrays.replaced(self.text, places[0], new.text)

    def _left(self, name: str) -> None:
        names, values = self._here()
        places = [index for index, one in enumerate(names) if one == name]
        goes = self.force or (self.by_name and name == DISTRIBUTION)  # in whatever form
        if len(places) == 1 and (goes or self._same(values[places[0]], self.base[name])):
            self.text = arrays.removed(self.text, places[0])

    def _last(self, names: Sequence[str]) -> int:
        """Where an element goes whose neighbour is gone: behind the last one that is or was the generator's."""
        known = {*self.generated, *self.base}
        found = [index for index, name in enumerate(names) if name in known]
        return found[-1] if found else len(names) - 1

    def _here(self) -> tuple[list[str], list[Any]]:
        array = parsed(self.text)
        return self._names(array), array.unwrap()

    def _named(self, array: Any) -> dict[str, Any]:
        return dict(zip(self._names(array), plain(array), strict=True))

    def _names(self, array: Any) -> list[str]:
        return [name_of(value) if self.by_name else repr(value) for value in plain(array)]

    def _same(self, one: Any, other: Any) -> bool:
        if not self.by_name:
            return same(one, other)
        return bool(_in_one_spelling(one) == _in_one_spelling(other))


def parsed(text: str) -> Any:
    """An array, as it is written, as one of tomlkit."""
    import tomlkit

    return tomlkit.parse(f"array = {text}\n")["array"]


def name_of(value: Any) -> str:
    """What a requirement is about, however it is spelled; of what is none, itself."""
    from packaging.utils import canonicalize_name

    requirement = _requirement(value)
    if requirement is None:
        return value if isinstance(value, str) else repr(value)
    return canonicalize_name(requirement.name)


def plain(value: Any) -> Any:
    """A value without what tomlkit knows about its layout."""
    return value.unwrap() if hasattr(value, "unwrap") else value


def same(one: Any, other: Any) -> bool:
    """Whether two values say the same, whatever their layout."""
    return bool(plain(one) == plain(other))


def _in_one_spelling(value: Any) -> Any:
    """A requirement so that capitals, spaces and the order of its bounds do not matter."""
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
