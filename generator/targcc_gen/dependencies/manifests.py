"""Edit lists of requirements as text: pyproject.toml, Pipfile, setup.cfg, requirements.txt."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from targcc_gen.dependencies.dependency import Dependency
from targcc_gen.sync.pyproject import Element, elements, inserted, removed

# The interface of a manifest: three edits.


@dataclass(frozen=True)
class Edits:
    """The edits of a list in a file.

    Args:
        has: Whether the list has a distribution.
        add: Adds distributions in order; None if the list cannot be edited with certainty.
        remove: Removes distributions.
    """

    has: Callable[[str, Dependency], bool]
    add: Callable[[str, Sequence[Dependency]], str | None]
    remove: Callable[[str, Sequence[Dependency]], str]


# pyproject.toml by PEP 621 and by Poetry, and Pipfile. Every comment and line break stays.

_STRING = r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*'
_PIECE = re.compile(rf"(?s){_STRING}|[\[\]]")
_EMPTY = "[\n]"
"""The array of a new list."""
_FASTAPI = re.compile(r"(?i)[\"']fastapi(?![\w.-])")


def array_place(data: dict[str, Any]) -> str:
    """Return the list with FastAPI: the project's list, or the list of an extra or a group."""
    project = data.get("project", {})
    named = {
        **{
            f"project.optional-dependencies.{name}": group
            for name, group in project.get("optional-dependencies", {}).items()
        },
        **{
            f"dependency-groups.{name}": group
            for name, group in data.get("dependency-groups", {}).items()
        },
    }
    if not _has_fastapi(project.get("dependencies", ())):
        for place, requirements in named.items():
            if _has_fastapi(requirements):
                return place
    return "project.dependencies"


def _has_fastapi(requirements: Any) -> bool:
    return any(
        _FASTAPI.match(f'"{requirement}')
        for requirement in requirements
        if isinstance(requirement, str)
    )


def pep621(place: str, manager: str) -> Edits:
    """Return the edits of a list of requirements, including the sources of uv or Poetry."""
    table, _, key = place.rpartition(".")

    def has(text: str, needed: Dependency) -> bool:
        listed = (*_elements(text, "project", "dependencies"), *_elements(text, table, key))
        return any(needed.is_named.match(requirement.text) for requirement in listed)

    def add(text: str, needed: Sequence[Dependency]) -> str | None:
        if _array(text, table, key) is None and place == "project.dependencies":
            text = with_line(text, table, f"{key} = {_EMPTY}")
        new = [dependency.pdm if manager == "pdm" else dependency.pinned for dependency in needed]
        listed = _listed(text, table, key, new)
        return None if listed is None else _with_sources(listed, needed, manager)

    def remove(text: str, needed: Sequence[Dependency]) -> str:
        for dependency in needed:
            span, listed_elements = _array(text, table, key), _elements(text, table, key)
            index = next(
                (i for i, e in enumerate(listed_elements) if dependency.is_named.match(e.text)),
                None,
            )
            if span is not None and index is not None:
                left = removed(text[slice(*span)], index)
                text = text[: span[0]] + left + text[span[1] :]
                if left == _EMPTY:
                    text = text.replace(f"\n{key} = {_EMPTY}", "", 1)
            for unwanted in (
                ("tool.poetry.dependencies", "tool.uv.sources") if dependency.path else ()
            ):
                text = without_line(text, unwanted, dependency, '"vendor/')
        return text

    return Edits(has, add, remove)


def _with_sources(text: str, needed: Sequence[Dependency], manager: str) -> str:
    """Add the paths of files for uv or Poetry, unless the project has them already."""
    table = "tool.poetry.dependencies" if manager == "poetry" else "tool.uv.sources"
    for dependency in needed:
        if dependency.path and manager != "pdm" and not _has_line(text, table, dependency):
            text = with_line(
                text, table, dependency.poetry if manager == "poetry" else dependency.source
            )
    return text


def _elements(text: str, table: str, key: str) -> list[Element]:
    span = _array(text, table, key)
    return elements(text[slice(*span)]) if span else []


def _listed(text: str, table: str, key: str, requirements: Sequence[str]) -> str | None:
    """Add requirements after FastAPI or at the end; return None without such a list."""
    span = _array(text, table, key)
    if span is None:
        return None
    array = text[slice(*span)]
    listed = elements(array)
    near = next(
        (i for i, requirement in enumerate(listed) if _FASTAPI.match(requirement.text)),
        len(listed) - 1,
    )
    for index, requirement in enumerate(requirements):
        array = inserted(array, near + index, Element(f'"{requirement}"', 0, 0))
    return text[: span[0]] + array + text[span[1] :]


def poetry_place(data: dict[str, Any]) -> str:
    """Return the table of Poetry with FastAPI: the project's, or a group's."""
    for name, group in data["tool"]["poetry"].get("group", {}).items():
        if "fastapi" in map(str.lower, group.get("dependencies", {})):
            return f"tool.poetry.group.{name}.dependencies"
    return "tool.poetry.dependencies"


def poetry(place: str) -> Edits:
    """Return the edits of Poetry's own table."""
    return _of_tables((place, "tool.poetry.dependencies"), lambda dependency: dependency.poetry)


def pipfile() -> Edits:
    """Return the edits of a Pipfile."""
    return _of_tables(("packages",), lambda dependency: dependency.pipfile)


def _of_tables(tables: Sequence[str], line: Callable[[Dependency], str]) -> Edits:
    """Return the edits of a table with a line for each distribution.

    Args:
        tables: The table, and other tables whose lines count as well.
        line: Returns the line of a distribution.
    """

    def add(text: str, needed: Sequence[Dependency]) -> str:
        for dependency in needed:
            text = with_line(text, tables[0], line(dependency))
        return text

    def remove(text: str, needed: Sequence[Dependency]) -> str:
        for dependency in needed:
            text = without_line(text, tables[0], dependency)
        return text

    return Edits(
        lambda text, needed: any(_has_line(text, table, needed) for table in tables), add, remove
    )


def with_line(text: str, table: str, line: str) -> str:
    """Add a line at the end of a table; add a missing table at the end of the text."""
    span = _table(text, table)
    if span is None:
        gap = "" if text.endswith("\n\n") or not text else "\n" if text.endswith("\n") else "\n\n"
        return f"{text}{gap}[{table}]\n{line}\n"
    body = text[slice(*span)]
    place = span[0] + len(body.rstrip())
    # A comment after the last line belongs to the next table.
    return f"{text[:place]}\n{line}{text[place:]}"


def _has_line(text: str, table: str, needed: Dependency) -> bool:
    return _line(text, table, needed) is not None


def _line(text: str, table: str, needed: Dependency) -> tuple[int, int] | None:
    """Return the start and the end of a distribution's line."""
    span = _table(text, table)
    place = span[0] if span else 0
    for line in text[slice(*span)].splitlines(keepends=True) if span else ():
        if needed.is_named.match(line.partition("=")[0].rstrip()) and "=" in line:
            return place, place + len(line)
        place += len(line)
    return None


def without_line(text: str, table: str, needed: Dependency, having: str = "") -> str:
    """Remove a distribution's line if the line contains `having`; remove the table if it becomes empty."""
    span, line = _table(text, table), _line(text, table, needed)
    if span is None or line is None or having not in text[slice(*line)]:
        return text
    start, end = line
    header = text.rfind("\n", 0, span[0] - 1) + 1
    rest = text[span[0] : start] + text[end : span[1]]
    if not rest.strip() and span[1] == len(text):
        before = text[:header]
        return before[:-1] if before.endswith("\n\n") else before
    if start and not text[start:end].endswith("\n"):
        start -= 1
    return text[:start] + text[end:]


def _table(text: str, name: str) -> tuple[int, int] | None:
    """Return the span of a table's body: from the end of the header's line to the next header."""
    header = re.search(rf"(?m)^\[\s*{re.escape(name)}\s*\][ \t]*(#[^\n]*)?\n?", text)
    if header is None:
        return None
    following = re.search(r"(?m)^\[", text[header.end() :])
    return header.end(), header.end() + following.start() if following else len(text)


def _array(text: str, table: str, key: str) -> tuple[int, int] | None:
    """Return the span of an array, with its brackets."""
    span = _table(text, table)
    match = re.search(rf"(?m)^{re.escape(key)}\s*=\s*\[", text[slice(*span)]) if span else None
    if span is None or match is None:
        return None
    start = span[0] + match.end() - 1
    depth = 0
    for piece in _PIECE.finditer(text, start):
        depth += (piece[0] == "[") - (piece[0] == "]")
        if not depth:
            return start, piece.end()
    return None


# `install_requires` of setup.cfg.

_LIST = re.compile(r"(?m)^install_requires[ \t]*=[ \t]*\n(?P<lines>(?:[ \t]+\S[^\n]*\n)+)")


def _is_in_ini(text: str, needed: Dependency) -> bool:
    match = _LIST.search(text)
    return match is not None and any(map(needed.is_named.match, match["lines"].splitlines()))


def _add_to_ini(text: str, needed: Sequence[Dependency]) -> str | None:
    """Add lines at the end of the list; return None if the list does not have a line for each requirement."""
    match = _LIST.search(text)
    if match is None:
        return None
    first = match["lines"].splitlines()[0]
    indent = first[: len(first) - len(first.lstrip())]
    more = "".join(f"{indent}{dependency.pinned}\n" for dependency in needed)
    return f"{text[: match.end()]}{more}{text[match.end() :]}"


def _remove_from_ini(text: str, needed: Sequence[Dependency]) -> str:
    """Remove the lines of distributions."""
    match = _LIST.search(text)
    if match is None:
        return text
    start, end = match.span("lines")
    lines = match["lines"].splitlines(keepends=True)
    kept = [
        line for line in lines if not any(dependency.is_named.match(line) for dependency in needed)
    ]
    return text[:start] + "".join(kept) + text[end:]


INI = Edits(_is_in_ini, _add_to_ini, _remove_from_ini)


# requirements.txt and requirements.in.

_FASTAPI_LINE = re.compile(r"(?i)\s*fastapi\b(?![\w.-])")


def _has_line_of(text: str, needed: Dependency) -> bool:
    return any(map(needed.is_named.match, text.splitlines()))


def _add_line(text: str, needed: Sequence[Dependency]) -> str | None:
    """Add lines below FastAPI's line; return None if the file checks hashes, because new lines would have none."""
    if "--hash=" in text or "--require-hashes" in text:
        return None
    lines = text.splitlines(keepends=True)
    place = next((i + 1 for i, line in enumerate(lines) if _FASTAPI_LINE.match(line)), len(lines))
    while place and lines[place - 1].rstrip("\n").endswith("\\"):
        place = place + 1 if place < len(lines) else 0
    new = [f"{dependency.pip_line}\n" for dependency in needed]
    if new and lines and place == len(lines) and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
        new[-1] = new[-1].removesuffix("\n")
    lines[place:place] = new
    return "".join(lines)


def _remove_line(text: str, needed: Sequence[Dependency]) -> str:
    """Remove the lines of distributions; keep a missing line end of the last line."""
    lines = text.splitlines(keepends=True)
    kept = [
        line for line in lines if not any(dependency.is_named.match(line) for dependency in needed)
    ]
    if kept and lines and kept[-1] is not lines[-1] and not lines[-1].endswith("\n"):
        kept[-1] = kept[-1].removesuffix("\n")
    return "".join(kept)


REQUIREMENTS = Edits(_has_line_of, _add_line, _remove_line)
