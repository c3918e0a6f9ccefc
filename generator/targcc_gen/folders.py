"""Folders that hold nothing any more."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path


def remove_left(root: Path, path: Path) -> None:
    """Remove what Python compiled of a module that was removed, and the folders that hold nothing any more.

    Args:
        root: The folder that stays.
        path: The file that was removed.
    """
    cache = path.parent / "__pycache__"
    if path.suffix == ".py" and path.is_relative_to(root) and not cache.is_symlink():
        for compiled in cache.glob(f"{path.stem}.*.pyc"):
            compiled.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            cache.rmdir()
    remove_empty(root, path.parent)


def remove_empty(root: Path, folder: Path) -> None:
    """Remove a folder and those above it, below `root`, that hold nothing but compiled files of what was removed."""
    while folder != root and folder.is_relative_to(root):
        if folder.is_dir():
            if any(path.name != "__pycache__" for path in folder.iterdir()):
                return
            shutil.rmtree(folder / "__pycache__", ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        folder = folder.parent
