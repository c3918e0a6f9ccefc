"""The version of the scheduler; the generator of the same release has the same."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__version__ = "0.2.0"
DISTRIBUTION = "targcc-scheduler"
"""What the package is called on an index, and its folder in a project that has its source."""
_FOLDERS = [folder.name for folder in Path(__file__).resolve().parents]
MODE: Literal["package", "vendored"] = (
    "vendored" if DISTRIBUTION in _FOLDERS[: len(__name__.split("."))] else "package"
)
"""How the project has the scheduler: ``package``, the installed distribution, or ``vendored``, its source in the project."""
