"""The part of a project that goes into an app that was there before, at the paths where that app has its code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from targcc_gen.render.tree import Layout, TreeFile

if TYPE_CHECKING:
    from targcc_gen.spec import Spec

_NESTED = ("jobs/", "features/")
_SINGLE = ("scheduler.py", "services.py", "__init__.py")
_KEPT = ("targcc.yaml", ".targcc/", "vendor/")


def embedded(files: Iterable[TreeFile], spec: Spec) -> list[TreeFile]:
    """The scheduler, the jobs and their services, and the spec; nothing of what an app has itself."""
    found = []
    for file in files:
        path = embedded_path(file.path, spec)
        if path is not None:
            test_of = embedded_path(file.test_of, spec) if file.test_of else ""
            found.append(replace(file, path=path, test_of=test_of or ""))
    return found


def embedded_path(path: str, spec: Spec) -> str | None:
    """Where a file of a whole project goes in the app's project; `None` for one that the app does without."""
    package = spec.project.package
    folder = _folder(spec)
    code = path.removeprefix(f"src/{package}/")
    if code != path:
        return f"{folder}/{code}" if code.startswith(_NESTED) or code in _SINGLE else None
    return path if path.startswith(_KEPT) else None


def layout_of(spec: Spec) -> Layout:
    """Where a project of its own, or the app that the scheduler went into, has the package."""
    if spec.project.inside is None:
        return Layout(f"src/{spec.project.package}")
    return Layout(_folder(spec), f"{_folder(spec)}/migrations")


def _folder(spec: Spec) -> str:
    inside, package = spec.project.inside, spec.project.package
    return package if inside in {None, "."} else f"{inside}/{package}"
