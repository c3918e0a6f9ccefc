"""requirements.txt and requirements.in."""

from __future__ import annotations

import re

from targcc_gen.patch.declare.needed import Needed

_FASTAPI = re.compile(r"(?i)\s*fastapi\b(?![\w.-])")


def add(text: str, needed: Needed) -> str | None:
    """The file with a line more, below FastAPI's; `None` when it checks hashes, which a line of ours would not have."""
    if "--hash=" in text or "--require-hashes" in text:
        return None
    lines = text.splitlines(keepends=True)
    if any(_is_ours(line, needed) for line in lines):
        return None
    place = next((i + 1 for i, line in enumerate(lines) if _FASTAPI.match(line)), len(lines))
    while place and lines[place - 1].rstrip("\n").endswith("\\"):
        place = place + 1 if place < len(lines) else 0
    unended = bool(lines) and place == len(lines) and not lines[-1].endswith("\n")
    if unended:
        lines[-1] += "\n"
    lines.insert(place, needed.pip_line + ("" if unended else "\n"))
    return "".join(lines)


def remove(text: str, needed: Needed) -> str | None:
    """The file without that line; `None` when it has none."""
    lines = text.splitlines(keepends=True)
    index = next((i for i, line in enumerate(lines) if _is_ours(line, needed)), None)
    if index is None:
        return None
    unended = index == len(lines) - 1 and not lines[index].endswith("\n")
    del lines[index]
    if unended and lines:
        lines[-1] = lines[-1].removesuffix("\n")
    return "".join(lines)


def _is_ours(line: str, needed: Needed) -> bool:
    distribution = needed.name.replace("-", "[-_]")
    return bool(re.match(rf"\s*(\./[\w./-]*)?{distribution}\b", line))
