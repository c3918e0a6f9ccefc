"""Bring what is new in the generator's pyproject.toml into a person's, by key and by requirement.

What only the generator changed is taken over, what only the person changed stays, and where both did the person's stays. A key or a
requirement that the person removed stays removed, and a list from which they took everything is theirs. The scheduler's own
requirement goes in whatever form it is written. Everything else stays byte for byte: order, comments, line breaks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from targcc_gen.sync.inherited.lists import MISSING, ListEdit, name_of, parsed, plain, same
from targcc_gen.sync.merging.merge import merge

_REQUIREMENTS = (
    ("build-system", "requires"),
    ("project", "dependencies"),
    ("project", "optional-dependencies"),
    ("dependency-groups",),
)
_SOURCES = ("tool", "uv", "sources")


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
        sources = set(_at(document, _SOURCES) or ())
        _Follower(force=force).table(
            tomlkit.parse(base.decode()), document, tomlkit.parse(generated.decode()), ()
        )
        _drop_unneeded(document, sources)
        text = tomlkit.dumps(document)
    except (TOMLKitError, ValueError):
        return None
    wanted = plain(document)
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
            old, new = base.get(key, MISSING), generated.get(key, MISSING)
            if not same(old, new):
                self._key(mine, key, old, new, (*place, key))

    def _key(
        self, mine: MutableMapping[str, Any], key: str, old: Any, new: Any, place: tuple[str, ...]
    ) -> None:
        here = mine.get(key, MISSING)
        if same(here, new) or (here is MISSING and old is not MISSING):
            return
        is_untouched = here is MISSING or same(here, old)
        there = [one for one in (old, new) if one is not MISSING]
        is_table = _are(Mapping, here, *there) and place[:-1] != _SOURCES  # a source is one value
        if is_table and not (is_untouched and new is MISSING):
            self.table(_or(old, {}), here, _or(new, {}), place)
        elif _are(list, here, new, *there):
            mine[key] = self._list(_or(old, []), here, new, place)
        elif not is_untouched and not self.force:
            return
        elif new is MISSING:
            del mine[key]
        else:
            mine[key] = copy.deepcopy(new)

    def _list(self, base: Any, mine: Any, generated: Any, place: tuple[str, ...]) -> Any:
        by_name = _is_requirements(place)
        edit = ListEdit(base, mine, generated, by_name=by_name, force=self.force)
        return parsed(edit.edited())


def _is_requirements(place: tuple[str, ...]) -> bool:
    return any(place[: len(one)] == one for one in _REQUIREMENTS)


def _drop_unneeded(document: Any, theirs: set[str]) -> None:
    """Take out new entries of `[tool.uv.sources]` that say where something is that is not required here."""
    new = set(_at(document, _SOURCES) or ()) - theirs
    for name in new - set(_required(document)) if new else ():
        _remove(document, (*_SOURCES, name))


def _required(document: Any) -> Iterator[str]:
    """The names of all requirements."""
    for place in _REQUIREMENTS:
        found = plain(_at(document, place)) or []
        lists = found.values() if isinstance(found, Mapping) else [found]
        yield from (name_of(one) for several in lists for one in several)


def _at(document: Any, place: tuple[str, ...]) -> Any:
    """What stands at a place, or None."""
    for key in place:
        if not isinstance(document, Mapping) or key not in document:
            return None
        document = document[key]
    return document


def _remove(document: Any, place: tuple[str, ...]) -> None:
    """Take an entry out, and the tables that hold nothing without it."""
    *above, key = place
    holder = _at(document, tuple(above))
    del holder[key]
    if above and not holder:
        _remove(document, tuple(above))


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


def _are(kind: type, *values: Any) -> bool:
    return all(isinstance(value, kind) for value in values)


def _or(value: Any, other: Any) -> Any:
    return other if value is MISSING else value
