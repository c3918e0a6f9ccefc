"""Add, change or remove the scheduler's requirements in a project's own files, or print lines to add by hand."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targcc_gen.dependencies import manifests
from targcc_gen.dependencies.dependency import Dependency
from targcc_gen.dependencies.manifests import Edits

# Files of the project with edits that are not written yet.

_LARGEST = 2_000_000


class Texts:
    """Files below a folder, with edits in memory.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._new: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a file with the edits; None for a missing or too large file."""
        return self._new[path] if path in self._new else self._on_disk(path)

    def put(self, path: str, content: bytes) -> None:
        """Set the new content of a file."""
        self._new[path] = content

    def edited(self, path: str, edit: Callable[[str], str | None]) -> bytes | None:
        """Return the bytes of a file after an edit of its text, whose lines end with `\\n`; None if the file cannot be edited."""
        data = self.read(path)
        try:
            text = (data or b"").decode()
        except UnicodeDecodeError:
            return None
        windows = "\r\n" in text
        if data is None or (windows and text.count("\r\n") != text.count("\n")):
            return None
        new = edit(text.replace("\r\n", "\n"))
        if new is None:
            return None
        return (new.replace("\n", "\r\n") if windows else new).encode()

    def changes(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield path, bytes on disk and new bytes of each changed file."""
        for path, after in sorted(self._new.items()):
            before = self._on_disk(path)
            if before is not None and before != after:
                yield path, before, after

    def _on_disk(self, path: str) -> bytes | None:
        place = self.root / path
        try:
            return place.read_bytes() if place.stat().st_size <= _LARGEST else None
        except OSError:
            return None


# Choose the file, the list and the spelling that the project uses.

_FASTAPI = re.compile(r"""(?im)^\s*["']?fastapi\b(?![.-])|["']fastapi[\[<>=~!"' ;]""")
_EXTRAS = re.compile(r"targcc[-_.]scheduler[^\[\]\n]*\[([^\]\n]*)\]")
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
        path: The file below the project's folder; empty if no file can be edited with certainty.
        before: The file's bytes.
        after: The file's bytes with the dependency.
        where: The place for people: `pyproject.toml: project.dependencies`.
        install: The command that then installs the dependency.
        lines: Lines to add by hand, if no file is edited.
        added: Requirements that are new in the file.
        present: Requirements that the file already has, perhaps with other versions.
    """

    path: str
    before: bytes
    after: bytes
    where: str
    install: str
    lines: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    present: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Place:
    """A list of requirements.

    Args:
        path: The file.
        where: The list's name for people.
        install: The command that installs the list.
        edits: The edits of the list.
    """

    path: str
    where: str
    install: str
    edits: Edits


def requirement_files(root: Path) -> tuple[str, ...]:
    """Return the lists for pip that a project has, the most likely first."""
    return tuple(path for path in _REQUIREMENTS if (root / path).is_file())


def requires_fastapi(root: Path) -> bool:
    """Return whether a file of a project requires FastAPI."""
    texts = Texts(root)
    return any(_has_fastapi(texts, place.path) for place in _places(texts, ""))


def declare(texts: Texts, needed: Sequence[Dependency]) -> Declared:
    """Declare dependencies in the list with FastAPI, or else in the project's own list; put the edit into `texts`."""
    places = _places(texts, "".join(dependency.pip_options for dependency in needed))
    for place in sorted(places, key=lambda place: not _has_fastapi(texts, place.path)):
        before = texts.read(place.path) or b""
        new = [dependency for dependency in needed if not _has(texts, place, dependency)]
        after = _with(texts, place, new)
        if after is None:
            continue
        texts.put(place.path, after)
        if _without(texts, place, new) == before:
            present = tuple(dependency.pinned for dependency in needed if dependency not in new)
            added = tuple(dependency.pinned for dependency in new)
            return Declared(
                place.path, before, after, place.where, place.install, added=added, present=present
            )
        texts.put(place.path, before)
    lines = tuple(dependency.pip_line for dependency in needed)
    shown = " ".join(f'"{line}"' for line in lines)
    return Declared("", b"", b"", "", f"python -m pip install {shown}", lines)


def declared_extras(texts: Texts) -> set[str]:
    """Return the extras of the scheduler's distribution in the project's lists, in every spelling."""
    extras: set[str] = set()
    for place in _places(texts, ""):
        text = (texts.read(place.path) or b"").decode(errors="replace")
        for match in _EXTRAS.finditer(text):
            extras |= {extra.strip(" \"'") for extra in match[1].split(",")}
    return extras - {""}


def update_command(texts: Texts, needed: Sequence[Dependency]) -> str:
    """Return the command that updates an environment to the declared versions.

    Args:
        texts: The project's files.
        needed: The declared dependencies.
    """
    options = "".join(dependency.pip_options for dependency in needed)
    places = _places(texts, options)
    command = next(
        (
            place.install
            for place in places
            if any(_has(texts, place, dependency) for dependency in needed)
        ),
        "",
    )
    shown = " ".join(f'"{dependency.pip_line}"' for dependency in needed)
    if command == "uv sync" and options and not (texts.root / "uv.lock").is_file():
        return f"uv sync, or: python -m pip install {options}-e ."
    return command or f"python -m pip install {shown}"


def undeclare(texts: Texts, needed: Sequence[Dependency], path: str = "") -> None:
    """Remove dependencies from `texts` that `declare` added.

    Args:
        texts: The project's files.
        needed: The declared dependencies.
        path: The declaring file; empty: every file that may declare dependencies.
    """
    for place in [known for known in _places(texts, "") if path in {"", known.path}]:
        has = [dependency for dependency in needed if _has(texts, place, dependency)]
        after = _without(texts, place, has) if has else None
        if after is not None:
            texts.put(place.path, after)


def _has(texts: Texts, place: _Place, needed: Dependency) -> bool:
    text = (texts.read(place.path) or b"").decode(errors="replace")
    return place.edits.has(text.replace("\r\n", "\n"), needed)


def _with(texts: Texts, place: _Place, needed: Sequence[Dependency]) -> bytes | None:
    return texts.edited(place.path, lambda text: place.edits.add(text, needed))


def _without(texts: Texts, place: _Place, needed: Sequence[Dependency]) -> bytes | None:
    return texts.edited(place.path, lambda text: place.edits.remove(text, needed))


def _places(texts: Texts, options: str) -> Iterator[_Place]:
    """Yield the lists of a project, the most likely first.

    Args:
        texts: The project's files.
        options: Options by which pip finds distributions in the project.
    """
    data = _toml(texts.read("pyproject.toml"))
    project, tools = data.get("project", {}), data.get("tool", {})
    by_pip = f"python -m pip install {options}-e ."
    if "poetry" in tools and "dependencies" not in project:
        table = manifests.poetry_place(data)
        where = f"pyproject.toml: {table}"
        yield _Place("pyproject.toml", where, "poetry install", manifests.poetry(table))
    if "dependencies" in project or (
        "project" in data and "dependencies" not in project.get("dynamic", ())
    ):
        array, manager = manifests.array_place(data), manager_of(texts.root, tools)
        install = {"pdm": "pdm install", "poetry": "poetry install", "uv": "uv sync"}
        if workspace_of(texts.root) is not None and "name" in project:
            install["uv"] = f"uv sync --package {project['name']}"
        where, edits = f"pyproject.toml: {array}", manifests.pep621(array, manager)
        yield _Place("pyproject.toml", where, install.get(manager, by_pip), edits)
    for path in requirement_files(texts.root):
        command = f"python -m pip install -r {path.replace('.in', '.txt')}"
        if path.endswith(".in"):
            command = f"pip-compile {path}, then {command}"
        yield _Place(path, path, command, manifests.REQUIREMENTS)
    if (texts.root / "Pipfile").is_file():
        yield _Place("Pipfile", "Pipfile: packages", "pipenv install", manifests.pipfile())
    if (texts.root / "setup.cfg").is_file():
        yield _Place("setup.cfg", "setup.cfg: install_requires", by_pip, manifests.INI)


def _has_fastapi(texts: Texts, path: str) -> bool:
    """Return whether a file requires FastAPI, so that its list is preferred."""
    return bool(_FASTAPI.search((texts.read(path) or b"").decode(errors="replace")))


def manager_of(root: Path, tools: dict[str, Any]) -> str:
    """Return the tool that manages the project's environment: `pdm`, `poetry`, `uv` or `hatch`; empty for pip."""
    if workspace_of(root) is not None:
        return "uv"
    for name in ("pdm", "poetry", "uv", "hatch"):
        if name in tools or (root / f"{name}.lock").is_file():
            return name
    return ""


def workspace_of(root: Path) -> Path | None:
    """Return the folder of the uv workspace that a project is a member of; None for any other project."""
    for folder in root.parents:
        data = _toml(Texts(folder).read("pyproject.toml"))
        workspace = data.get("tool", {}).get("uv", {}).get("workspace", {})
        if not workspace:
            continue
        relative = root.relative_to(folder)
        is_member, is_excluded = (
            any(relative.match(str(pattern).rstrip("/")) for pattern in workspace.get(key, ()))
            for key in ("members", "exclude")
        )
        return folder if is_member and not is_excluded else None
    return None


def _toml(data: bytes | None) -> dict[str, Any]:
    try:
        return tomllib.loads((data or b"").decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}
