"""Write the three releases of the storm's project, each into its own folder, like a deploy."""

from __future__ import annotations

import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEWEST = 3
_REMOVED = "REMOVED"
"""File of a release that lists its removed files."""


def write(folder: Path, release: int) -> None:
    """Write a release: the first release with the changes of every later release up to this number."""
    shutil.copytree(HERE / "project", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for number in range(2, release + 1):
        changes = HERE / "releases" / str(number)
        ignored = shutil.ignore_patterns(_REMOVED, "__pycache__")
        shutil.copytree(changes, folder, dirs_exist_ok=True, ignore=ignored)
        removed = changes / _REMOVED
        for name in removed.read_text(encoding="utf-8").split() if removed.exists() else ():
            (folder / name).unlink()
