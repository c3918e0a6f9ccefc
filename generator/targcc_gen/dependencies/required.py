"""Read the requirements that a project declares: pyproject.toml, Pipfile, setup.cfg, requirements.txt."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from targcc_gen.dependencies.declare import Texts

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_LINE = re.compile(r"\s*(?P<text>[A-Za-z0-9][^#\\]*)")


@dataclass(frozen=True)
class Required:
    """A requirement of a project.

    Args:
        name: The normalised name: `psycopg2-binary`.
        extras: The extras.
        versions: The allowed versions; None if the text does not tell.
        text: The requirement as the file has it: `uvicorn<0.30`.
        path: The file.
        optional: Whether only an extra or a group requires the distribution.
    """

    name: str
    extras: frozenset[str]
    versions: SpecifierSet | None
    text: str
    path: str
    optional: bool = False


@dataclass(frozen=True)
class PythonVersions:
    """The Python versions of a project.

    Args:
        versions: The allowed versions.
        text: The text of the file: `requires-python = ">=3.9"`.
        path: The file.
        covers: Whether the whole range has to work, because the project's tool locks versions for all of it.
    """

    versions: SpecifierSet
    text: str
    path: str
    covers: bool = False


def read_required(texts: Texts, requirement_files: tuple[str, ...]) -> Iterator[Required]:
    """Yield the requirements of a project.

    Args:
        texts: The project's files.
        requirement_files: The paths of lists for pip.
    """
    data = _toml(texts, "pyproject.toml")
    yield from _of_pyproject(data)
    for name, value in _table(_toml(texts, "Pipfile"), "packages").items():
        yield from _of_table(name, value, "Pipfile")
    for text in _of_ini(texts):
        yield from _of_text(text, "setup.cfg")
    for path in requirement_files:
        for line in _text(texts, path).splitlines():
            if match := _LINE.match(line):
                yield from _of_text(match["text"].split(" --")[0].strip(), path)


def python_versions(texts: Texts) -> Iterator[PythonVersions]:
    """Yield the places where a project says its Python versions."""
    from targcc_gen.dependencies.declare import manager_of

    data = _toml(texts, "pyproject.toml")
    tools = _table(data, "tool")
    covers = manager_of(texts.root, tools) in {"uv", "pdm", "poetry"}
    text = _table(data, "project").get("requires-python")
    if isinstance(text, str) and (versions := _versions(text)) is not None:
        yield PythonVersions(
            versions, f'requires-python = "{text}"', "pyproject.toml", covers=covers
        )
    python = _table(_table(tools, "poetry"), "dependencies").get("python")
    if isinstance(python, str) and (versions := poetry_versions(python)) is not None:
        yield PythonVersions(versions, f'python = "{python}"', "pyproject.toml", covers=True)
    for path, pattern in ((".python-version", r"(3\.\d+)"), ("runtime.txt", r"python-(3\.\d+)")):
        if match := re.match(pattern, _text(texts, path).strip()):
            yield PythonVersions(SpecifierSet(f"=={match[1]}.*"), match[0], path)


def _of_pyproject(data: Mapping[str, Any]) -> Iterator[Required]:
    project, path = _table(data, "project"), "pyproject.toml"
    for text in _list(project, "dependencies"):
        yield from _of_text(text, path)
    for table in (_table(project, "optional-dependencies"), _table(data, "dependency-groups")):
        for group in table:
            for text in _list(table, group):
                yield from _of_text(text, path, optional=True)
    poetry = _table(_table(data, "tool"), "poetry")
    for name, value in _table(poetry, "dependencies").items():
        yield from _of_table(name, value, path)
    for group in _table(poetry, "group").values():
        for name, value in _table(group, "dependencies").items():
            yield from _of_table(name, value, path, optional=True)


def _of_text(text: str, path: str, *, optional: bool = False) -> Iterator[Required]:
    try:
        parsed = Requirement(text)
    except InvalidRequirement:
        return
    if parsed.marker is not None and not parsed.marker.evaluate({"python_version": "3.13"}):
        return
    yield Required(
        canonicalize_name(parsed.name),
        frozenset(parsed.extras),
        None if parsed.url else parsed.specifier,
        text.partition(";")[0].strip(),
        path,
        optional,
    )


def _of_table(name: str, value: Any, path: str, *, optional: bool = False) -> Iterator[Required]:
    """Yield the requirement of a line in a table of Poetry or Pipenv."""
    if not _NAME.fullmatch(name) or name == "python":
        return
    text = value.get("version", "*") if isinstance(value, dict) else value
    extras = _list(value, "extras") if isinstance(value, dict) else []
    shown = f'{name} = "{text}"' if isinstance(text, str) else name
    versions = poetry_versions(text) if isinstance(text, str) else None
    yield Required(canonicalize_name(name), frozenset(extras), versions, shown, path, optional)


def poetry_versions(text: str) -> SpecifierSet | None:
    """Return the versions of a constraint of Poetry: `^1.2`, `~1.2`, `1.2`, `*`; None if the constraint is unknown."""
    parts = [part.strip() for part in text.split(",")]
    return _versions(",".join(filter(None, map(_bounds, parts))))


def _bounds(part: str) -> str:
    if part in {"*", ""}:
        return ""
    match = re.fullmatch(r"(?P<sign>\^|~(?!=))\s*(?P<version>\d+(?:\.\d+)*)", part)
    if match is None:
        return f"=={part}" if part[0].isdigit() else part
    numbers = [int(number) for number in match["version"].split(".")]
    if match["sign"] == "~":
        index = min(1, len(numbers) - 1)
    else:  # the first number that is not zero
        index = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1)
    upper = [*numbers[:index], numbers[index] + 1]
    return f">={match['version']},<{'.'.join(map(str, upper))}"


def _versions(text: str) -> SpecifierSet | None:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return None


def _of_ini(texts: Texts) -> list[str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_text(texts, "setup.cfg"))
    except configparser.Error:
        return []
    return parser.get("options", "install_requires", fallback="").splitlines()


def _text(texts: Texts, path: str) -> str:
    return (texts.read(path) or b"").decode("utf-8-sig", "replace")


def _toml(texts: Texts, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(texts, path))
    except tomllib.TOMLDecodeError:
        return {}


def _table(data: Any, key: str) -> dict[str, Any]:
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}


def _list(data: Mapping[str, Any], key: str) -> list[str]:
    value = data.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
