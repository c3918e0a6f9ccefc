"""The package as a dependency: the file, the list and the spelling that a project uses, or the lines to add by hand."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targcc_gen.patch.declare import ini, requirements, toml
from targcc_gen.patch.declare.needed import Needed

_FASTAPI = re.compile(r"""(?im)^\s*["']?fastapi\b(?![.-])|["']fastapi[\[<>=~!"' ;]""")
_LARGEST = 2_000_000
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
    """A dependency that is, or would be, declared.

    Args:
        path: The file below the project's folder; empty when none can be edited with certainty.
        before: Its bytes.
        after: Its bytes with the dependency.
        where: What people call the place: `pyproject.toml: project.dependencies`.
        install: The command that then installs it.
        lines: What to add by hand, when no file is edited.
    """

    path: str
    before: bytes
    after: bytes
    where: str
    install: str
    lines: tuple[str, ...] = ()


Edit = Callable[[str, Needed], str | None]


def declare(root: Path, needed: Needed) -> Declared:
    """Declare the package beside FastAPI, or where the project's own dependencies are."""
    places = sorted(_places(root, needed), key=lambda place: not _has_fastapi(root / place[0]))
    for path, where, install, edit, undo in places:
        before = _read(root / path)
        after = _edited(before, needed, edit)
        if before is not None and after is not None and _edited(after, needed, undo) == before:
            return Declared(path, before, after, where, install)
    command = f'python -m pip install "./{needed.wheel}[{",".join(needed.extras)}]"'
    return Declared("", b"", b"", "", command, (needed.pip_line,))


def undeclare(root: Path, needed: Needed) -> Iterator[tuple[str, bytes, bytes]]:
    """Path, bytes and bytes without it of each file that declares the package as `declare` does."""
    seen = set()
    for path, _, _, _, undo in _places(root, needed):
        before = _read(root / path)
        after = _edited(before, needed, undo)
        if path not in seen and before is not None and after is not None and after != before:
            seen.add(path)
            yield path, before, after


def _places(root: Path, needed: Needed) -> Iterator[tuple[str, str, str, Edit, Edit]]:
    data = _toml(root / "pyproject.toml")
    project, tools = data.get("project", {}), data.get("tool", {})
    if "poetry" in tools and "dependencies" not in project:
        place = toml.poetry_place(data)
        yield "pyproject.toml", f"pyproject.toml: {place}", "poetry install", *toml.poetry(place)
    if "dependencies" in project or (
        "project" in data and "dependencies" not in project.get("dynamic", ())
    ):
        array = toml.array_place(data)
        manager = _manager(root, tools)
        install = {
            "pdm": "pdm install",
            "poetry": "poetry install",
            "uv": "uv sync",
        }.get(manager, f"python -m pip install --find-links {needed.folder} -e .")
        yield "pyproject.toml", f"pyproject.toml: {array}", install, *toml.pep621(array, manager)
    for path in _REQUIREMENTS:
        if (root / path).is_file():
            install = f"python -m pip install -r {path.replace('.in', '.txt')}"
            if path.endswith(".in"):
                install = f"pip-compile {path}, then {install}"
            yield path, path, install, requirements.add, requirements.remove
    if (root / "Pipfile").is_file():
        yield "Pipfile", "Pipfile: packages", "pipenv install", *toml.pipfile()
    if (root / "setup.cfg").is_file():
        install = f"python -m pip install --find-links {needed.folder} -e ."
        yield "setup.cfg", "setup.cfg: install_requires", install, ini.add, ini.remove


def _has_fastapi(path: Path) -> bool:
    """Whether a file requires FastAPI, so that it is the one whose requirements count."""
    return bool(_FASTAPI.search((_read(path) or b"").decode(errors="replace")))


def _manager(root: Path, tools: dict[str, Any]) -> str:
    for name in ("pdm", "poetry", "uv", "hatch"):
        if name in tools or (root / f"{name}.lock").is_file():
            return name
    return ""


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((_read(path) or b"").decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.stat().st_size <= _LARGEST else None
    except OSError:
        return None


def _edited(data: bytes | None, needed: Needed, edit: Edit) -> bytes | None:
    """The bytes after an edit of the text, which sees `\\n` alone; `None` where that cannot be put back."""
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    windows = "\r\n" in text
    if windows and text.count("\r\n") != text.count("\n"):
        return None
    new = edit(text.replace("\r\n", "\n"), needed)
    if new is None:
        return None
    return (new.replace("\n", "\r\n") if windows else new).encode()
