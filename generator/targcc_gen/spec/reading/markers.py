"""The conflict markers that git writes into a file, and the versions between them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_MARKER = re.compile(r"(<{7}|\|{7}|={7}|>{7})(?: (.*))?")
_OURS, _BASE, _THEIRS = "<<<<<<<", "|||||||", "======="
_END = ">>>>>>>"
_NEXT = {"": (_OURS,), _OURS: (_BASE, _THEIRS), _BASE: (_THEIRS,), _THEIRS: (_END,)}


@dataclass(frozen=True)
class Sides:
    """A file with markers, taken apart.

    Attributes:
        ours: The file with our side of each conflict.
        theirs: With the other side.
        base: With what was there before both; None where git did not write that down.
        our_name: What git calls our side: `HEAD`.
        their_name: What it calls the other one: a branch, a commit.
        places: How many conflicts there are.
    """

    ours: str
    theirs: str
    base: str | None
    our_name: str
    their_name: str
    places: int


def may_have_markers(text: str) -> bool:
    """Whether a line begins as git's first marker does; quick."""
    return text.startswith(f"{_OURS} ") or f"\n{_OURS} " in text


def sides_of(text: str) -> Sides | None:
    """Both versions of a text with git's markers; None for one without, or with markers that do not belong together."""
    if not may_have_markers(text):
        return None
    ours: list[str] = []
    theirs: list[str] = []
    base: list[str] = []
    targets: dict[str, tuple[list[str], ...]] = {
        "": (ours, theirs, base), _OURS: (ours,), _BASE: (base,), _THEIRS: (theirs,)
    }  # fmt: skip
    state, names, places, bases = "", ["", ""], 0, 0
    for line in text.splitlines(keepends=True):
        marker = _MARKER.fullmatch(line.rstrip("\r\n"))
        if marker is not None and marker[1] in _NEXT[state]:
            state = marker[1]
            places += state == _OURS
            bases += state == _BASE
            if state == _OURS:
                names[0] = marker[2] or ""
            elif state == _END:
                names[1], state = marker[2] or "", ""
        elif marker is not None and marker[1] == _OURS and state != _BASE:
            return None
        else:
            for target in targets[state]:
                target.append(line)
    if state or not places:
        return None
    before = "".join(base) if bases == places else None
    return Sides("".join(ours), "".join(theirs), before, names[0], names[1], places)


def marked(ours: Iterable[str], theirs: Iterable[str], names: tuple[str, str]) -> list[str]:
    """Both sides of a conflict between markers, as git writes them."""
    mine, other = (f" {name}" if name else "" for name in names)
    return [f"{_OURS}{mine}\n", *ours, f"{_THEIRS}\n", *theirs, f"{_END}{other}\n"]
