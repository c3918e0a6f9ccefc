"""The few things that are done to the disk; a test can make each of them fail."""

from __future__ import annotations

import shutil
from pathlib import Path


class Files:
    """Writes to a folder. Every method either does all it says or raises OSError."""

    def make_folder(self, folder: Path) -> None:
        """Make one folder below one that exists."""
        folder.mkdir()

    def write(self, path: Path, content: bytes, *, mode: int | None = None) -> None:
        """Write a file of our own.

        Args:
            path: Where.
            content: What.
            mode: Its permission bits; by default those of any new file.
        """
        with path.open("wb") as file:
            file.write(content)
        if mode is not None:
            path.chmod(mode)

    def copy(self, source: Path, target: Path) -> None:
        """Copy a file with its permissions."""
        shutil.copy2(source, target)

    def replace(self, source: Path, target: Path) -> None:
        """Move a file to where another may be, in one step."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def remove_folder(self, folder: Path) -> None:
        """Remove an empty folder."""
        folder.rmdir()

    def remove_tree(self, folder: Path) -> None:
        """Remove a folder of our own with all that is in it."""
        shutil.rmtree(folder)
