"""What the scheduler comes in, or runs on, as dependencies: the file, the list and the spelling that a project uses, or the lines to add by hand."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targcc_gen.declare import ini, requirements, toml
from targcc_gen.declare.edits import Edits
from targcc_gen.declare.needed import Needed
from targcc_gen.declare.texts import Texts

_FASTAPI = re.compile(r"""(?im)^\s*["']?fastapi\b(?![.-])|["']fastapi[\[<>=~!"' ;]""")
_REQUIREMENTS = (
    "requirements.in",
    "requirements/base.in",
    "requirements/main.in",
    "requirements/prod.in",
    "requirements/production.in",
    "requirements.txt",
    "requirements/base.txt",
    "requirements/main.txt",
    "requirements/prod.txt",
    "requirements/production.txt",
)


@dataclass(frozen=True)
class Declared:
    """Dependencies that are, or would be, declared.

    Args:
        path: The file below the project's folder; empty when none can be edited with certainty.
        before: Its bytes.
        after: Its bytes with the dependency.
        where: What people call the place: `pyproject.toml: project.dependencies`.
        install: The command that then installs it.
        lines: What to add by hand, when no file is edited.
        added: The requirements that are new in the file.
        there: Those that the file has, which may ask for other versions.
    """

    path: str
    before: bytes
    after: bytes
    where: str
    install: str
    lines: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    there: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Place:
    """A list of requirements.

    Args:
        path: The file.
        where: What people call the list.
        install: The command that installs what it lists.
        edits: Its edits.
    """

    path: str
    where: str
    install: str
    edits: Edits


def declare(texts: Texts, needed: Sequence[Needed]) -> Declared:
    """Declare what is needed beside FastAPI, or where the project's own dependencies are; `texts` has it then."""
    places = _places(texts, next((one.folder for one in needed if one.wheel), ""))
    for place in sorted(places, key=lambda place: not _has_fastapi(texts, place.path)):
        before = texts.read(place.path) or b""
        new = [one for one in needed if not _has(texts, place, one)]
        after = _with(texts, place, new)
        if after is None:
            continue
        texts.put(place.path, after)
        if _without(texts, place, new) == before:
            there = tuple(one.pinned for one in needed if one not in new)
            added = tuple(one.pinned for one in new)
            return Declared(
                place.path, before, after, place.where, place.install, added=added, there=there
            )
        texts.put(place.path, before)
    lines = tuple(one.pip_line for one in needed)
    shown = " ".join(f'"{line}"' for line in lines)
    return Declared("", b"", b"", "", f"python -m pip install {shown}", lines)


def update_command(texts: Texts, needed: Sequence[Needed]) -> str:
    """The command that brings an environment to the versions that the project declares.

    Args:
        texts: The project's files.
        needed: What is declared.
    """
    folder = next((one.folder for one in needed if one.wheel), "")
    places = _places(texts, folder)
    command = next(
        (place.install for place in places if any(_has(texts, place, one) for one in needed)), ""
    )
    shown = " ".join(f'"{one.pip_line}"' for one in needed)
    if command == "uv sync" and folder and not (texts.root / "uv.lock").is_file():
        return f"uv sync, or: python -m pip install --find-links {folder} -e ."
    return command or f"python -m pip install {shown}"


def undeclare(texts: Texts, needed: Sequence[Needed], path: str = "") -> None:
    """Take out of `texts` what declares these, as `declare` does it.

    Args:
        texts: The project's files.
        needed: What is declared.
        path: The file that declares it; every file that may when it is empty.
    """
    for place in [one for one in _places(texts, "") if path in {"", one.path}]:
        has = [one for one in needed if _has(texts, place, one)]
        after = _without(texts, place, has) if has else None
        if after is not None:
            texts.put(place.path, after)


def _has(texts: Texts, place: _Place, needed: Needed) -> bool:
    text = (texts.read(place.path) or b"").decode(errors="replace")
    return place.edits.has(text.replace("\r\n", "\n"), needed)


def _with(texts: Texts, place: _Place, needed: Sequence[Needed]) -> bytes | None:
    return texts.edited(place.path, lambda text: place.edits.add(text, needed))


def _without(texts: Texts, place: _Place, needed: Sequence[Needed]) -> bytes | None:
    return texts.edited(place.path, lambda text: place.edits.remove(text, needed))


def _places(texts: Texts, folder: str) -> Iterator[_Place]:
    """The lists of a project, the likeliest first.

    Args:
        texts: Its files.
        folder: Where it has wheels; empty when none is needed.
    """
    data = _toml(texts.read("pyproject.toml"))
    project, tools = data.get("project", {}), data.get("tool", {})
    by_pip = f"python -m pip install {f'--find-links {folder} ' if folder else ''}-e ."
    if "poetry" in tools and "dependencies" not in project:
        table = toml.poetry_place(data)
        where = f"pyproject.toml: {table}"
        yield _Place("pyproject.toml", where, "poetry install", toml.poetry(table))
    if "dependencies" in project or (
        "project" in data and "dependencies" not in project.get("dynamic", ())
    ):
        array, manager = toml.array_place(data), _manager(texts.root, tools)
        install = {"pdm": "pdm install", "poetry": "poetry install", "uv": "uv sync"}
        where, edits = f"pyproject.toml: {array}", toml.pep621(array, manager)
        yield _Place("pyproject.toml", where, install.get(manager, by_pip), edits)
    for path in _REQUIREMENTS:
        if (texts.root / path).is_file():
            command = f"python -m pip install -r {path.replace('.in', '.txt')}"
            if path.endswith(".in"):
                command = f"pip-compile {path}, then {command}"
            yield _Place(path, path, command, requirements.EDITS)
    if (texts.root / "Pipfile").is_file():
        yield _Place("Pipfile", "Pipfile: packages", "pipenv install", toml.pipfile())
    if (texts.root / "setup.cfg").is_file():
        yield _Place("setup.cfg", "setup.cfg: install_requires", by_pip, ini.EDITS)


def _has_fastapi(texts: Texts, path: str) -> bool:
    """Whether a file requires FastAPI, so that it is the one whose requirements count."""
    return bool(_FASTAPI.search((texts.read(path) or b"").decode(errors="replace")))


def _manager(root: Path, tools: dict[str, Any]) -> str:
    for name in ("pdm", "poetry", "uv", "hatch"):
        if name in tools or (root / f"{name}.lock").is_file():
            return name
    return ""


def _toml(data: bytes | None) -> dict[str, Any]:
    try:
        return tomllib.loads((data or b"").decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}
