"""pyproject.toml by PEP 621 and by Poetry, and Pipfile: edited as text, so that every comment and line break stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from targcc_gen.patch.declare.needed import Needed
from targcc_gen.sync.inherited.arrays import Element, elements, inserted, removed

Edit = Callable[[str, Needed], str | None]

_STRING = r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*'
_PIECE = re.compile(rf"(?s){_STRING}|[\[\]]")
_EMPTY = "[\n]"
"""Of a list that is not there yet."""
_FASTAPI = re.compile(r"(?i)[\"']fastapi(?![\w.-])")


def array_place(data: dict[str, Any]) -> str:
    """The list with FastAPI in it: that of the project, of one of its extras or of a group."""
    project = data.get("project", {})
    named = {
        **{
            f"project.optional-dependencies.{name}": one
            for name, one in project.get("optional-dependencies", {}).items()
        },
        **{
            f"dependency-groups.{name}": one
            for name, one in data.get("dependency-groups", {}).items()
        },
    }
    if not _has_fastapi(project.get("dependencies", ())):
        for place, found in named.items():
            if _has_fastapi(found):
                return place
    return "project.dependencies"


def _has_fastapi(requirements: Any) -> bool:
    return any(_FASTAPI.match(f'"{one}') for one in requirements if isinstance(one, str))


def pep621(place: str, manager: str) -> tuple[Edit, Edit]:
    """The edits of a list of requirements, and of the place where uv or Poetry are told of the file."""
    table, _, key = place.rpartition(".")

    def add(text: str, needed: Needed) -> str | None:
        requirement = needed.pdm if manager == "pdm" else needed.pinned
        if _array(text, table, key) is None and place == "project.dependencies":
            text = with_line(text, table, f"{key} = {_EMPTY}") or text
        listed = _listed(text, table, key, requirement, needed)
        if listed is None or manager == "pdm":
            return listed
        if manager == "poetry":
            return with_line(listed, "tool.poetry.dependencies", _poetry_line(needed))
        return with_line(listed, "tool.uv.sources", _source_line(needed))

    def undo(text: str, needed: Needed) -> str | None:
        span = _array(text, table, key)
        if span is None:
            return None
        array = text[slice(*span)]
        index = next((i for i, one in enumerate(elements(array)) if needed.name in one.text), None)
        if index is None:
            return None
        left = removed(array, index)
        text = text[: span[0]] + left + text[span[1] :]
        if left == _EMPTY:
            text = text.replace(f"\n{key} = {_EMPTY}", "", 1)
        for told in ("tool.poetry.dependencies", "tool.uv.sources"):
            text = without_line(text, told, needed) or text
        return text

    return add, undo


def _listed(text: str, table: str, key: str, requirement: str, needed: Needed) -> str | None:
    """The text with a requirement more, behind FastAPI or at the end; `None` when it has ours already, or no such list."""
    span = _array(text, table, key)
    if span is None or needed.name in text[slice(*span)]:
        return None
    array = text[slice(*span)]
    found = elements(array)
    near = next((i for i, one in enumerate(found) if _FASTAPI.match(one.text)), len(found) - 1)
    new = inserted(array, near, Element(f'"{requirement}"', 0, 0))
    return text[: span[0]] + new + text[span[1] :]


def poetry_place(data: dict[str, Any]) -> str:
    """The table of Poetry with FastAPI in it: the project's, or a group's."""
    for name, group in data["tool"]["poetry"].get("group", {}).items():
        if "fastapi" in map(str.lower, group.get("dependencies", {})):
            return f"tool.poetry.group.{name}.dependencies"
    return "tool.poetry.dependencies"


def poetry(place: str) -> tuple[Edit, Edit]:
    """The edits of Poetry's own table."""
    return (
        lambda text, needed: with_line(text, place, _poetry_line(needed)),
        lambda text, needed: without_line(text, place, needed),
    )


def pipfile() -> tuple[Edit, Edit]:
    """The edits of a Pipfile."""
    return (
        lambda text, needed: with_line(
            text,
            "packages",
            f'{needed.name} = {{file = "./{needed.wheel}", extras = {needed.toml_extras}}}',
        ),
        lambda text, needed: without_line(text, "packages", needed),
    )


def _poetry_line(needed: Needed) -> str:
    return f'{needed.name} = {{ path = "{needed.wheel}", extras = {needed.toml_extras} }}'


def _source_line(needed: Needed) -> str:
    return f'{needed.name} = {{ path = "{needed.wheel}" }}'


def with_line(text: str, table: str, line: str) -> str | None:
    """The text with a line more at the end of a table, which is made at the end of the text when it is not there."""
    if re.search(rf"(?m)^{re.escape(line.partition(' ')[0])}\s*=", text):
        return None
    span = _table(text, table)
    if span is None:
        gap = "" if text.endswith("\n\n") or not text else "\n" if text.endswith("\n") else "\n\n"
        return f"{text}{gap}[{table}]\n{line}\n"
    body = text[slice(*span)]
    place = span[0] + len(body.rstrip())
    # A comment behind the last line belongs to what follows it.
    return f"{text[:place]}\n{line}{text[place:]}"


def without_line(text: str, table: str, needed: Needed) -> str | None:
    """The text without that line, and without the table if it holds nothing else."""
    span = _table(text, table)
    found = (
        re.search(rf"(?m)^{re.escape(needed.name)}\s*=[^\n]*\n?", text[slice(*span)])
        if span
        else None
    )
    if span is None or found is None:
        return None
    start, end = span[0] + found.start(), span[0] + found.end()
    header = text.rfind("\n", 0, span[0] - 1) + 1
    rest = text[span[0] : start] + text[end : span[1]]
    if not rest.strip() and span[1] == len(text):
        before = text[:header]
        return before[:-1] if before.endswith("\n\n") else before
    if start and not text[start:end].endswith("\n"):
        start -= 1
    return text[:start] + text[end:]


def _table(text: str, name: str) -> tuple[int, int] | None:
    """Where the body of a table is: from the end of its header's line to the next header."""
    header = re.search(rf"(?m)^\[\s*{re.escape(name)}\s*\][ \t]*(#[^\n]*)?\n?", text)
    if header is None:
        return None
    following = re.search(r"(?m)^\[", text[header.end() :])
    return header.end(), header.end() + following.start() if following else len(text)


def _array(text: str, table: str, key: str) -> tuple[int, int] | None:
    """Where an array is, from its `[` to behind its `]`."""
    span = _table(text, table)
    found = re.search(rf"(?m)^{re.escape(key)}\s*=\s*\[", text[slice(*span)]) if span else None
    if span is None or found is None:
        return None
    start = span[0] + found.end() - 1
    depth = 0
    for piece in _PIECE.finditer(text, start):
        depth += (piece[0] == "[") - (piece[0] == "]")
        if not depth:
            return start, piece.end()
    return None
