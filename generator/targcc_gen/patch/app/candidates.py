"""Find the files of a project that make a FastAPI app, when none was named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from targcc_gen.errors import InputError
from targcc_gen.patch.app.apps import apps_of
from targcc_gen.patch.app.file import AppFile
from targcc_gen.patch.app.source import Source, SourceError

_SKIPPED = frozenset(
    {
        "__pycache__",
        "build",
        "dist",
        "docs",
        "docs_src",
        "env",
        "examples",
        "node_modules",
        "site-packages",
        "test",
        "tests",
        "venv",
    }
)
LARGEST = 2_000_000
MANAGED = b"Managed by targcc-gen:"
_HEAD = 400  # the mark is in the first or second line


class NoAppError(InputError):
    """No file of a project makes a FastAPI app."""


def find_file(root: Path, module: str | None = None) -> Path:
    """The one file of the project that makes a FastAPI app; tests, examples and environments do not count.

    Args:
        root: The project's folder.
        module: The module that `--app module:name` names: then it is that module's file.

    Raises:
        InputError: There is none, there are several, or the only one is not valid Python.
    """
    if module:
        return file_of_module(root, module)
    found, broken = [], []
    for path in sorted(python_files(root)):
        try:
            found += [path] if _makes_app(root, path) else []
        except SourceError as error:
            broken.append(error)
    if len(found) == 1:
        return found[0]
    if not found and len(broken) == 1:
        raise broken[0]
    if not found:
        raise NoAppError(
            f"no file in {root} makes a FastAPI app, nor one of Starlette, Litestar, Django or Flask",
            hint=(
                "Name it: targcc-gen patch FILE\n"
                "A program without a web application: targcc-gen new NAME makes a project for the jobs, which runs beside it."
            ),
        )
    raise InputError(
        f"{len(found)} files in {root} make a FastAPI app\n{_listed(root, found)}",
        hint=f"Name the one to patch: targcc-gen patch {found[0].relative_to(root).as_posix()}",
    )


def _listed(root: Path, paths: Sequence[Path]) -> str:
    return "\n".join(f"  {path.relative_to(root).as_posix()}" for path in paths)


def file_of_module(root: Path, module: str) -> Path:
    """The file of a module that `--app module:name` names.

    Raises:
        InputError: There is none, or there are several.
    """
    relative = Path(*module.split("."))
    places = [
        base / name
        for base in (root, root / "src")
        for name in (relative.with_suffix(".py"), relative / "__init__.py")
    ]
    found = [place for place in places if place.is_file()]
    if len(found) != 1:
        where = _listed(root, found or places)
        raise InputError(
            f"--app {module}: {'several files could be' if found else 'no file is'} that module\n{where}",
            hint="Name the file too: targcc-gen patch FILE --app …",
        )
    return found[0]


def python_files(root: Path) -> Iterator[Path]:
    """Python files below `root`; no hidden folders, no environments, no other project."""
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED
            and not name.startswith(".")
            and not (here / name / "pyvenv.cfg").is_file()
        ]
        for name in names:
            if name.endswith(".py") and not name.startswith("test_") and name != "conftest.py":
                yield here / name


def _makes_app(root: Path, path: Path) -> bool:
    """Whether a file makes an app.

    Raises:
        SourceError: It looks like it, but it is not valid Python.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    except OSError:
        return False
    if b"fastapi" not in data or b"FastAPI" not in data or MANAGED in data[:_HEAD]:
        return False
    return bool(apps_of(AppFile(Source(path.relative_to(root).as_posix(), data))))
