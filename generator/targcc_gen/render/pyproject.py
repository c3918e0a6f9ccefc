"""A person's pyproject.toml after the way the scheduler is had has changed: only the lines that differ are touched."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, MutableMapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from tomlkit import TOMLDocument, comment, dumps, parse, table, value
from tomlkit.items import Array

from targcc_gen.render.vendor import DISTRIBUTION

_SOURCES = ("tool", "uv", "sources")


def follow(text: str, before: str, after: str, *, only_scheduler: bool = False) -> str:
    """The person's pyproject.toml with what differs between two rendered ones.

    A requirement goes only where it stands as it was rendered (the scheduler's own in any form), and comes only where none of
    its name stands; a list from which the person took everything that was to go is left alone. Comments, order and layout
    stay.

    Args:
        text: The person's.
        before: What was rendered the way it was.
        after: What is rendered the way it is to be.
        only_scheduler: Take out nothing but the scheduler's own requirement: for an app that has the others for itself.

    Raises:
        tomlkit.exceptions.ParseError: The person's is no TOML.
    """
    if text == before:
        return after
    document, old, new = parse(text), tomllib.loads(before), tomllib.loads(after)
    for place in _lists(old, new):
        array = _at(document, place)
        if isinstance(array, Array):
            gone, came = _differences(_at(old, place) or [], _at(new, place) or [])
            _follow_list(array, gone, came, only_scheduler=only_scheduler)
    _follow_source(document, _at(old, _SOURCES) or {}, _at(new, _SOURCES) or {})
    return dumps(document)


def _lists(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The places of all lists of requirements."""
    yield ("project", "dependencies")
    for section in (("project", "optional-dependencies"), ("dependency-groups",)):
        names = {**(_at(old, section) or {}), **(_at(new, section) or {})}
        yield from ((*section, name) for name in names)


def _at(document: Any, place: tuple[str, ...]) -> Any:
    """What stands at a place, or None."""
    for key in place:
        if not isinstance(document, MutableMapping) or key not in document:
            return None
        document = document[key]
    return document


def _differences(old: list[str], new: list[str]) -> tuple[list[str], list[str]]:
    return [one for one in old if one not in new], [one for one in new if one not in old]


def _follow_list(
    array: Array, gone: list[str], came: list[str], *, only_scheduler: bool = False
) -> None:
    names = {_name(str(one)) for one in array}
    if gone and not names & {_name(one) for one in gone}:
        return  # the person has these elsewhere
    leaving = {_canonical(one) for one in gone if not only_scheduler}
    own = DISTRIBUTION if DISTRIBUTION in {_name(one) for one in gone} else None
    found = [
        number
        for number, one in enumerate(array)
        if _canonical(str(one)) in leaving or _name(str(one)) == own
    ]
    for number in reversed(found):
        del array[number]
    position = found[0] if found else len(array)
    names = {_name(str(one)) for one in array}
    for offset, one in enumerate(one for one in came if _name(one) not in names):
        array.insert(position + offset, one)


def _follow_source(document: TOMLDocument, old: dict[str, Any], new: dict[str, Any]) -> None:
    """The file that uv takes the scheduler from: set where the scheduler is required, gone with it."""
    theirs = _at(document, (*_SOURCES, DISTRIBUTION))
    if new.get(DISTRIBUTION) is None:
        if theirs is not None and theirs == old.get(DISTRIBUTION):
            _remove(document, (*_SOURCES, DISTRIBUTION))
    elif theirs is None and _requires_scheduler(document):
        _sources(document)[DISTRIBUTION] = value(f'{{ path = "{new[DISTRIBUTION]["path"]}" }}')


def _requires_scheduler(document: TOMLDocument) -> bool:
    required = _at(document, ("project", "dependencies")) or []
    return any(_name(str(one)) == DISTRIBUTION for one in required)


def _sources(document: TOMLDocument) -> Any:
    """`[tool.uv.sources]`, made where there is none."""
    place: Any = document
    for key in _SOURCES:
        if key not in place:
            place[key] = table(is_super_table=key != _SOURCES[-1])
            if key == _SOURCES[-1]:
                place[key].add(comment("The scheduler is this file, also where an index has it."))
        place = place[key]
    return place


def _remove(document: TOMLDocument, place: tuple[str, ...]) -> None:
    """Take an entry out, and the tables that hold nothing without it."""
    *above, key = place
    holder = _at(document, tuple(above))
    del holder[key]
    if not holder and above:
        _remove(document, tuple(above))


def _canonical(text: str) -> str:
    """A requirement in one spelling, so that spaces and the order of bounds do not matter."""
    try:
        return str(Requirement(text))
    except InvalidRequirement:
        return text


def _name(text: str) -> str:
    try:
        return str(canonicalize_name(Requirement(text).name))
    except InvalidRequirement:
        return text
