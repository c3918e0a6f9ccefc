"""requirements.txt and requirements.in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from targcc_gen.declare.edits import Edits
from targcc_gen.declare.needed import Needed

_FASTAPI = re.compile(r"(?i)\s*fastapi\b(?![\w.-])")


def _has(text: str, needed: Needed) -> bool:
    return any(map(needed.is_named.match, text.splitlines()))


def _add(text: str, needed: Sequence[Needed]) -> str | None:
    """The file with more lines, below FastAPI's; `None` when it checks hashes, which lines of ours would not have."""
    if "--hash=" in text or "--require-hashes" in text:
        return None
    lines = text.splitlines(keepends=True)
    place = next((i + 1 for i, line in enumerate(lines) if _FASTAPI.match(line)), len(lines))
    while place and lines[place - 1].rstrip("\n").endswith("\\"):
        place = place + 1 if place < len(lines) else 0
    new = [f"{one.pip_line}\n" for one in needed]
    if new and lines and place == len(lines) and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
        new[-1] = new[-1].removesuffix("\n")
    lines[place:place] = new
    return "".join(lines)


def _remove(text: str, needed: Sequence[Needed]) -> str:
    """The file without the lines; one whose last line had no end keeps that."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not any(one.is_named.match(line) for one in needed)]
    if kept and lines and kept[-1] is not lines[-1] and not lines[-1].endswith("\n"):
        kept[-1] = kept[-1].removesuffix("\n")
    return "".join(kept)


EDITS = Edits(_has, _add, _remove)
