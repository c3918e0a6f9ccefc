"""A dependency of a patched app, spelled for each tool."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from targcc_gen.render.package import DISTRIBUTION, SOURCE_TREE, Origin

if TYPE_CHECKING:
    from targcc_gen.spec import Spec

GUEST = "guest"
"""The scheduler's extra for an app, which has a server and its settings already."""


@dataclass(frozen=True)
class Dependency:
    """A distribution from an index, from a repository or an address, or in the project.

    Args:
        name: The name: `targcc-scheduler`.
        extras: The required extras.
        bounds: The versions: `==1.0`; empty for any.
        path: The wheel, or the folder of the source, below the project's folder; empty if not in the project.
        origin: The repository or the address; None for an index or the project.
    """

    name: str
    extras: tuple[str, ...] = ()
    bounds: str = ""
    path: str = ""
    origin: Origin | None = None

    @property
    def is_source(self) -> bool:
        """Whether the distribution is a folder with its source."""
        return bool(self.path) and not self.path.endswith(".whl")

    @property
    def pip_options(self) -> str:
        """The options by which `pip install` of the app finds the distribution; ends with a space unless empty."""
        if not self.path:
            return ""
        folder = self.path.rpartition("/")[0]
        return f"-e ./{self.path} " if self.is_source else f"--find-links {folder} "

    @property
    def is_named(self) -> re.Pattern[str]:
        """A pattern for the name at the beginning of a requirement, in any spelling, also for a requirement by file."""
        name = re.sub(r"[-_.]+", "[-_.]+", self.name)
        file = rf"(?:-e )?\./[\w./-]*{name}(?:-\d|[\[\s]|\Z)" if self.path else "(?!)"
        return re.compile(rf"(?i)\s*[\"']?(?:{file}|{name}(?![\w.-]*\w))")

    @property
    def pinned(self) -> str:
        """The requirement by name: `targcc-scheduler[run]==1.0`, or with the address of its origin."""
        if self.origin is not None:
            return f"{self.name}{self._bracketed} @ {self.origin.reference}"
        return f"{self.name}{self._bracketed}{self.bounds}"

    @property
    def pip_line(self) -> str:
        """The requirement as pip reads it from the project's folder: a file or a folder by its path."""
        if not self.path:
            return self.pinned
        return f"{'-e ' if self.is_source else ''}./{self.path}{self._bracketed}"

    @property
    def pdm(self) -> str:
        """The requirement as PDM writes it."""
        if not self.path:
            return self.pinned
        return f"{self.name}{self._bracketed} @ file:///${{PROJECT_ROOT}}/{self.path}"

    @property
    def poetry(self) -> str:
        """The line of Poetry's table."""
        if place := self._place("path", "rev", "develop"):
            return f"{self.name} = {{ {place}, extras = {self._toml_extras} }}"
        if not self.extras:
            return f'{self.name} = "{self.bounds or "*"}"'
        version = f'version = "{self.bounds or "*"}"'
        return f"{self.name} = {{ {version}, extras = {self._toml_extras} }}"

    @property
    def pipfile(self) -> str:
        """The line of a Pipfile."""
        if place := self._place("path" if self.is_source else "file", "ref", "editable"):
            place = place.replace(f'"{self.path}"', f'"./{self.path}"') if self.path else place
            return f"{self.name} = {{{place}, extras = {self._toml_extras}}}"
        return self.poetry.replace("{ ", "{").replace(" }", "}")

    @property
    def source(self) -> str:
        """The line of uv's sources for the file or the folder; empty if not in the project."""
        if not self.path:
            return ""
        return f'{self.name} = {{ path = "{self.path}"{", editable = true" if self.is_source else ""} }}'

    def _place(self, path: str, commit: str, editable: str) -> str:
        """Return the origin in the keys of Poetry's table or a Pipfile; empty for an index."""
        if self.path:
            return f'{path} = "{self.path}"{f", {editable} = true" if self.is_source else ""}'
        if self.origin is None:
            return ""
        if not self.origin.commit:
            return f'{"url" if commit == "rev" else "file"} = "{self.origin.reference}"'
        folder = f', subdirectory = "{self.origin.folder}"' if self.origin.folder else ""
        return f'git = "{self.origin.url}", {commit} = "{self.origin.commit}"{folder}'

    @property
    def _bracketed(self) -> str:
        return f"[{','.join(self.extras)}]" if self.extras else ""

    @property
    def _toml_extras(self) -> str:
        return "[" + ", ".join(f'"{extra}"' for extra in self.extras) + "]"


def index_dependency(requirement: str) -> Dependency:
    """Build the dependency for a distribution of an index.

    Args:
        requirement: The requirement as in the scheduler's metadata, without a marker: `sqlalchemy[asyncio]>=2.1`.
    """
    from packaging.requirements import Requirement

    parsed = Requirement(requirement)
    bounds = requirement.removeprefix(parsed.name)
    return Dependency(parsed.name, tuple(sorted(parsed.extras)), bounds.rpartition("]")[2])


def app_dependencies(spec: Spec) -> tuple[Dependency, ...]:
    """Return the dependencies of an app with the scheduler inside: the scheduler, by version, origin or path."""
    from targcc_gen.render.vendor import database_extras, package_origin, version
    from targcc_gen.render.wheel import wheel_path

    extras = (GUEST, *database_extras(spec.database))
    origin, bounds = package_origin(spec), f"=={version(spec)}"
    if origin is not None:
        return (Dependency(DISTRIBUTION, extras, origin=origin),)
    path = SOURCE_TREE if spec.scheduler == "vendored" else wheel_path()
    return (Dependency(DISTRIBUTION, extras, bounds, path),)
