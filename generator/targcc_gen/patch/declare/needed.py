"""What a project needs, and how each tool spells it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Needed:
    """The scheduler's distribution as a file in the project.

    Args:
        name: `targcc-scheduler`.
        version: Its version.
        extras: The extras the project needs.
        wheel: The file below the project's folder.
    """

    name: str
    version: str
    extras: tuple[str, ...]
    wheel: str

    @property
    def folder(self) -> str:
        """Where the file is."""
        return self.wheel.rpartition("/")[0]

    @property
    def pinned(self) -> str:
        """The requirement by name: `targcc-scheduler[run]==1.0`."""
        return f"{self.name}[{','.join(self.extras)}]=={self.version}"

    @property
    def pip_line(self) -> str:
        """The requirement by file, as pip reads it from the project's folder."""
        return f"./{self.wheel}[{','.join(self.extras)}]"

    @property
    def pdm(self) -> str:
        """The requirement by file, as PDM writes it."""
        extras = ",".join(self.extras)
        return f"{self.name}[{extras}] @ file:///${{PROJECT_ROOT}}/{self.wheel}"

    @property
    def toml_extras(self) -> str:
        """The extras as a TOML array."""
        return "[" + ", ".join(f'"{one}"' for one in self.extras) + "]"
