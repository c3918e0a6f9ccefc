"""What must hold between calendars, and those who name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from targcc_gen.spec.findings import Finding, mapping
from targcc_gen.spec.value_errors import nearest

_NAMING = (
    ("jobs", "calendar"),
    ("flows", "calendar"),
    ("queues", "calendar"),
    ("calendars", "include"),
)
"""Where calendars are named: a section, and the key of each of its entries."""


def calendar_findings(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with the names of calendars in a whole spec, in the shape of the YAML."""
    if "extends" in spec:  # which may have the calendar: asked again when that is read too
        return
    known = list(mapping(spec.get("calendars")))
    for section, key in _NAMING:
        for name, holder in mapping(spec.get(section)).items():
            for path, one in _named(_value(holder, key), (section, name, key)):
                if one not in known:
                    hint = nearest(one, known) or f"calendars has {', '.join(known) or 'none'}"
                    yield Finding(path, f'no calendar "{one}"', hint)
    includes = {
        name: [one for _, one in _named(_value(said, "include"), ())]
        for name, said in mapping(spec.get("calendars")).items()
    }
    for name in includes:
        if _reaches(name, name, includes, set()):
            path = ("calendars", name, "include")
            yield Finding(path, f"calendar {name} includes itself", "take one of the steps out")


def _named(
    value: object, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list | tuple):
        yield from (
            ((*path, place), one) for place, one in enumerate(value) if isinstance(one, str)
        )


def _reaches(start: str, wanted: str, includes: Mapping[str, list[str]], passed: set[str]) -> bool:
    if start in passed:
        return False
    passed.add(start)
    below = includes.get(start, [])
    return wanted in below or any(_reaches(one, wanted, includes, passed) for one in below)


def _value(holder: object, key: str) -> object:
    return getattr(holder, key, None) if isinstance(holder, BaseModel) else mapping(holder).get(key)
