"""Choose the package for the scheduler: the package of the project's spec, or a new package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targcc_gen.errors import LayoutError
from targcc_gen.names import package_problem
from targcc_gen.patch.host_database import HostDatabase, host_database
from targcc_gen.patch.layout import SPEC, Layout

if TYPE_CHECKING:
    from targcc_gen.render.tree import TreeFile
    from targcc_gen.spec import Spec

OWN_PACKAGE = "jobs_scheduler"
"""The new package when the app's own package cannot hold the scheduler."""

_NAMES = ("scheduler", "jobs")


@dataclass(frozen=True)
class TargetPackage:
    """The package that holds `scheduler`, `jobs` and `services`.

    Args:
        package: The import name.
        source: The folder that contains the package, absolute.
        spec: The project's spec.
        is_new: Whether the project has no spec yet, so that the patch makes the package.
        notes: Notes to show about the choice.
        url_variable: The app's variable with the URL of its PostgreSQL database; empty if unknown.
    """

    package: str
    source: Path
    spec: Spec
    is_new: bool = False
    notes: tuple[str, ...] = ()
    url_variable: str = ""

    @property
    def services_taken(self) -> bool:
        """Whether the app has a module or package `services` of its own."""
        return self.is_new and bool(_places(self.folder, "services"))

    @property
    def router_module(self) -> str:
        """The module that has the router: `acme.scheduler`."""
        return f"{self.package}.scheduler"

    @property
    def folder(self) -> Path:
        """The package's folder."""
        return self.source / self.package


def find_target_package(
    layout: Layout,
    pyproject: dict[str, Any],
    scheduler: str | None = None,
    database: str | None = None,
    mode: str | None = None,
) -> TargetPackage:
    """Return the package that the spec names; without a spec, a new package.

    Args:
        layout: How the app's file is imported.
        pyproject: The project's pyproject.toml.
        scheduler: The scheduler mode of a new package: `package` (also for `None`) or `vendored`.
        database: The database of a new package; `None` takes the app's, if it is PostgreSQL, else SQLite.
        mode: The work of web processes of a new package: `embedded` (also for `None`) or `pages`.

    Raises:
        InputError: The spec is invalid or names another scheduler mode, database or mode, the scheduler is not on disk, or no
            package name is free.
    """
    path = layout.root / SPEC
    if not path.is_file():
        return _new_package(layout, pyproject, scheduler or "package", database, mode or "embedded")
    from targcc_gen.spec import load_spec

    spec = load_spec(path)
    if scheduler not in {None, spec.scheduler}:
        raise LayoutError(
            f"{SPEC} says scheduler: {spec.scheduler}",
            hint=f"switch with: targcc-gen scheduler {scheduler}",
        )
    if database not in {None, spec.database}:
        raise LayoutError(
            f"{SPEC} says database: {spec.database}",
            hint=f"Write database: {database} there, then run targcc-gen regenerate.",
        )
    if mode not in {None, spec.mode}:
        raise LayoutError(
            f"{SPEC} says mode: {spec.mode}",
            hint=f"Write mode: {mode} there, then run targcc-gen regenerate.",
        )
    package = TargetPackage(
        spec.project.package, layout.root / (spec.project.inside or "src"), spec
    )
    if not (package.folder / "scheduler.py").is_file():
        raise LayoutError(
            f"{SPEC} asks for a scheduler in {package.folder.relative_to(layout.root).as_posix()}, but it is not there",
            hint="Run targcc-gen regenerate first.",
        )
    return package


def _new_package(
    layout: Layout, pyproject: dict[str, Any], scheduler: str, database: str | None, mode: str
) -> TargetPackage:
    package, notes = layout.top, []
    reason = _unfit(layout)
    if reason:
        package = OWN_PACKAGE
        notes.append(f"{reason}: the scheduler gets a package of its own, {package}")
        if "build-system" in pyproject:
            notes.append(
                f"a wheel of the project needs {package} too: name it beside the app's package in pyproject.toml"
            )
    folder = layout.source / package
    if package == OWN_PACKAGE and folder.exists():
        raise LayoutError(f"{folder} is there already, and targcc-gen did not make it")
    host = _host_database(layout.root) if database is None else HostDatabase()
    if host.is_postgresql:
        database = "postgresql"
        places = "; ".join(host.places)
        notes.append(
            f"the app is on PostgreSQL ({places}), so the scheduler is too; --database sqlite gives the scheduler a file"
        )
    services = _places(folder, "services")
    if services and package != OWN_PACKAGE:
        where = services[0].relative_to(layout.root).as_posix()
        notes.append(
            f"{where} stays yours: jobs get the scheduler's own services, and those of a make_container() there"
        )
    ways = {"scheduler": scheduler, "database": database or "sqlite", "mode": mode}
    spec = _spec(layout, pyproject, package, ways)
    return TargetPackage(
        package, layout.source, spec, is_new=True, notes=tuple(notes), url_variable=host.variable
    )


def _host_database(root: Path) -> HostDatabase:
    from targcc_gen.dependencies.declare import Texts, requirement_files
    from targcc_gen.dependencies.required import read_required

    return host_database(root, read_required(Texts(root), requirement_files(root)))


def _unfit(layout: Layout) -> str | None:
    """Return why the app's own package cannot hold the scheduler; `None` when it can."""
    if not layout.top:
        return f"{layout.module} is in no package"
    if problem := package_problem(layout.top):
        return f"the package name {layout.top} {problem}"
    folder = layout.source / layout.top
    taken = next((place for name in _NAMES for place in _places(folder, name)), None)
    return f"{taken.relative_to(layout.root).as_posix()} is there already" if taken else None


def _places(folder: Path, name: str) -> list[Path]:
    """Return the existing module and package of a name."""
    return [place for place in (folder / name, folder / f"{name}.py") if place.exists()]


def _spec(layout: Layout, pyproject: dict[str, Any], package: str, ways: dict[str, str]) -> Spec:
    """Build a spec with one example job that runs every hour."""
    from pydantic import ValidationError

    from targcc_gen.spec import FIRST_JOB, ProjectSpec, Spec, build_job

    try:
        project = ProjectSpec(
            name=_name(layout.root, pyproject), package=package, inside=layout.inside
        )
        jobs = {"Heartbeat": build_job("Heartbeat", FIRST_JOB)}
        return Spec.model_validate({"targcc": 1, "project": project, "jobs": jobs, **ways})
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise LayoutError(
            f"no spec can be made for {layout.root}: {reason}", hint=f"Write a {SPEC} first."
        ) from error


def _name(root: Path, pyproject: dict[str, Any]) -> str:
    """Return the project's name from pyproject.toml, else from the folder."""
    named = pyproject.get("project", {}).get("name") or pyproject.get("tool", {}).get(
        "poetry", {}
    ).get("name")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(named or root.name)).strip("-._")[:100] or "app"


def new_files(package: TargetPackage, root: Path) -> tuple[list[TreeFile], list[TreeFile]]:
    """Return the files of a new package, and apart those whose place the app has taken: `__init__.py` and `services`."""
    from targcc_gen.render import render_project

    names = ["__init__.py"] if (package.folder / "__init__.py").exists() else []
    names += ["services.py"] if package.services_taken else []
    own = {(package.folder / name).relative_to(root).as_posix() for name in names}
    files = list(render_project(package.spec))
    return [file for file in files if file.path not in own], [
        file for file in files if file.path in own
    ]
