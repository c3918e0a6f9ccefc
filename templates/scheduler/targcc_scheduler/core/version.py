"""The version of the scheduler; the generator of the same release has the same version."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__version__ = "0.2.0"
DISTRIBUTION = "targcc-scheduler"
"""The name of the package on an index, and of its folder in a project that contains the source."""
_FOLDERS = [folder.name for folder in Path(__file__).resolve().parents]
MODE: Literal["package", "vendored"] = (
    "vendored" if DISTRIBUTION in _FOLDERS[: len(__name__.split("."))] else "package"
)
"""The form of the scheduler in the project: ``package``, the installed distribution, or ``vendored``, its source in the project."""
