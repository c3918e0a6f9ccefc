"""`install_requires` of setup.cfg."""

from __future__ import annotations

import re
from collections.abc import Sequence

from targcc_gen.declare.edits import Edits
from targcc_gen.declare.needed import Needed

_LIST = re.compile(r"(?m)^install_requires[ \t]*=[ \t]*\n(?P<lines>(?:[ \t]+\S[^\n]*\n)+)")


def _has(text: str, needed: Needed) -> bool:
    found = _LIST.search(text)
    return found is not None and any(map(needed.is_named.match, found["lines"].splitlines()))


def _add(text: str, needed: Sequence[Needed]) -> str | None:
    """The file with more lines at the end of the list; `None` when the list is not one line for each."""
    found = _LIST.search(text)
    if found is None:
        return None
    first = found["lines"].splitlines()[0]
    indent = first[: len(first) - len(first.lstrip())]
    more = "".join(f"{indent}{one.pinned}\n" for one in needed)
    return f"{text[: found.end()]}{more}{text[found.end() :]}"


def _remove(text: str, needed: Sequence[Needed]) -> str:
    """The file without the lines."""
    found = _LIST.search(text)
    if found is None:
        return text
    start, end = found.span("lines")
    lines = found["lines"].splitlines(keepends=True)
    kept = [line for line in lines if not any(one.is_named.match(line) for one in needed)]
    return text[:start] + "".join(kept) + text[end:]


EDITS = Edits(_has, _add, _remove)
