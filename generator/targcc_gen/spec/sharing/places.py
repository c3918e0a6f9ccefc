"""Where a spec may point to: files and folders of its own repository, and nothing behind a link out of it."""

from __future__ import annotations

import stat
from pathlib import Path


def path_problem(path: str, example: str) -> tuple[str, str] | None:
    """Why a text of a spec is no path to something in its repository: what is wrong, and what to do."""
    if not path.strip():
        return "this is the path of nothing", f"for example {example}"
    if path.startswith(("/", "\\", "~")) or ":" in path or "\\" in path or "\0" in path:
        return "this is no path from this file, with /", f"for example {example}"
    return None


def target_problem(target: Path, root: Path, *, folder: bool = False) -> tuple[str, str] | None:
    """Why what a path leads to may not be read.

    Args:
        target: The place, before links are followed.
        root: The project's folder.
        folder: Whether it has to be a folder; else a file.
    """
    what = "folder" if folder else "file"
    try:
        place = target.resolve(strict=True)
        mode = place.stat().st_mode
    except (OSError, RuntimeError):
        return f"there is no such {what}", "the path is counted from this file's folder"
    boundary = repository_of(root)
    if not place.is_relative_to(boundary):
        return f"the {what} is outside of the repository", f"it has to be below {boundary}"
    if folder and not stat.S_ISDIR(mode):
        return "this is no folder", "name the folder that has one folder for each blueprint"
    if not folder and not stat.S_ISREG(mode):
        return "this is no regular file", "name a YAML file"
    return None


def repository_of(root: Path) -> Path:
    """The repository that a project is in; without one, the folder that the project's folder is in."""
    root = root.resolve()
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            return folder
    return root.parent
