"""The version of the scheduler; the generator of the same release has the same."""

from __future__ import annotations

from typing import Literal

__version__ = "0.2.0"
DISTRIBUTION = "targcc-scheduler"
"""What the package is called on an index; copies of the scheduler in one process are recognised by it."""
MODE: Literal["package", "vendored"] = (
    "package" if __name__.partition(".")[0] == "targcc_scheduler" else "vendored"
)
"""How the project has the scheduler: ``package``, the installed distribution, or ``vendored``, a copy in the project's source."""
