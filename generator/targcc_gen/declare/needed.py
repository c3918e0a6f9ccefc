"""What a project needs, and how each tool spells it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from targcc_gen.spec import Spec


@dataclass(frozen=True)
class Needed:
    """A distribution that the scheduler comes in or runs on: one of an index, or a file in the project.

    Args:
        name: Its name: `targcc-scheduler`.
        extras: The extras that are needed.
        bounds: The versions: `==1.0`; empty for any.
        wheel: The file below the project's folder; empty for a distribution of an index.
    """

    name: str
    extras: tuple[str, ...] = ()
    bounds: str = ""
    wheel: str = ""

    @property
    def folder(self) -> str:
        """Where the file is."""
        return self.wheel.rpartition("/")[0]

    @property
    def is_named(self) -> re.Pattern[str]:
        """Matches the name at the beginning of a requirement, also of one by file, in any spelling."""
        name = re.sub(r"[-_.]+", "[-_.]+", self.name)
        file = rf"\./[\w./-]*{name}-\d" if self.wheel else "(?!)"
        return re.compile(rf"(?i)\s*[\"']?(?:{file}|{name}(?![\w.-]*\w))")

    @property
    def pinned(self) -> str:
        """The requirement by name: `targcc-scheduler[run]==1.0`."""
        return f"{self.name}{self._bracketed}{self.bounds}"

    @property
    def pip_line(self) -> str:
        """The requirement as pip reads it from the project's folder: a file by its path."""
        return f"./{self.wheel}{self._bracketed}" if self.wheel else self.pinned

    @property
    def pdm(self) -> str:
        """The requirement as PDM writes it."""
        if not self.wheel:
            return self.pinned
        return f"{self.name}{self._bracketed} @ file:///${{PROJECT_ROOT}}/{self.wheel}"

    @property
    def poetry(self) -> str:
        """The line of Poetry's table."""
        if self.wheel:
            return f'{self.name} = {{ path = "{self.wheel}", extras = {self._toml_extras} }}'
        if not self.extras:
            return f'{self.name} = "{self.bounds or "*"}"'
        version = f'version = "{self.bounds or "*"}"'
        return f"{self.name} = {{ {version}, extras = {self._toml_extras} }}"

    @property
    def pipfile(self) -> str:
        """The line of a Pipfile."""
        if self.wheel:
            return f'{self.name} = {{file = "./{self.wheel}", extras = {self._toml_extras}}}'
        return self.poetry.replace("{ ", "{").replace(" }", "}")

    @property
    def source(self) -> str:
        """The line that tells uv of the file; empty for a distribution of an index."""
        return f'{self.name} = {{ path = "{self.wheel}" }}' if self.wheel else ""

    @property
    def _bracketed(self) -> str:
        return f"[{','.join(self.extras)}]" if self.extras else ""

    @property
    def _toml_extras(self) -> str:
        return "[" + ", ".join(f'"{one}"' for one in self.extras) + "]"


def published(requirement: str) -> Needed:
    """A distribution of an index.

    Args:
        requirement: As the scheduler's metadata has it, without a marker: `sqlalchemy[asyncio]>=2.1`.
    """
    from packaging.requirements import Requirement

    found = Requirement(requirement)
    bounds = requirement.removeprefix(found.name)
    return Needed(found.name, tuple(sorted(found.extras)), bounds.rpartition("]")[2])


def needed(spec: Spec) -> tuple[Needed, ...]:
    """What a project that has the scheduler inside declares: the package in its folder `vendor`, or what a copy runs on."""
    from targcc_gen.render.package import DISTRIBUTION
    from targcc_gen.render.vendor import project_requirements
    from targcc_gen.render.wheel import wheel_path, wheel_version

    if spec.scheduler == "vendored":
        return tuple(map(published, project_requirements(spec)))
    extras = ("run", "postgresql") if spec.database == "postgresql" else ("run",)
    bounds = f"=={wheel_version()}"
    return (Needed(DISTRIBUTION, extras, bounds, wheel_path()),)
