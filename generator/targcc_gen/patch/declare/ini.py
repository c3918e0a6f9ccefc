"""`install_requires` of setup.cfg."""

from __future__ import annotations

import re

from targcc_gen.patch.declare.needed import Needed

_LIST = re.compile(r"(?m)^install_requires[ \t]*=[ \t]*\n(?P<lines>(?:[ \t]+\S[^\n]*\n)+)")


def add(text: str, needed: Needed) -> str | None:
    """The file with a line more at the end of the list; `None` when the list is not one line for each."""
    found = _LIST.search(text)
    if found is None or needed.name in found["lines"]:
        return None
    first = found["lines"].splitlines()[0]
    indent = first[: len(first) - len(first.lstrip())]
    return f"{text[: found.end()]}{indent}{needed.pinned}\n{text[found.end() :]}"


def remove(text: str, needed: Needed) -> str | None:
    """The file without that line; `None` when it has none."""
    found = _LIST.search(text)
    if found is None:
        return None
    start, end = found.span("lines")
    lines = found["lines"].splitlines(keepends=True)
    kept = [line for line in lines if not line.strip().startswith(f"{needed.name}[")]
    return text[:start] + "".join(kept) + text[end:] if len(kept) < len(lines) else None
