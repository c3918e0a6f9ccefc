"""What could not follow a change of the generator is kept in `.targcc/kept/`, where nothing runs, imports or formats it.

`status` lists it until the person deletes it.
"""

from __future__ import annotations

from pathlib import Path

from targcc_gen.render.tree import KEPT_PATH, Owner
from targcc_gen.sync.folder.disk import Disk
from targcc_gen.sync.plan.plan import Action, Change


def kept_path(path: str, disk: Disk, content: bytes, end: str, folder: str = KEPT_PATH) -> str:
    """Where a text of the file at `path` is kept: a name that is free, or that has this text already."""
    number, place = 1, f"{folder}/{path}{end}"
    while (there := disk.look(place)).blocked or there.raw not in {None, content}:
        number += 1
        place = f"{folder}/{path}.{number}{end}"
    return place


def keep(
    path: str, disk: Disk, content: bytes, end: str, reason: str, *, folder: str = KEPT_PATH
) -> Change:
    """The change that keeps `content`, a text of the file at `path`.

    Args:
        path: The file.
        disk: The project.
        content: The text.
        end: The end of the name: `.txt` for a whole file, `.diff` for a diff.
        reason: What it is.
        folder: Where such texts are kept.
    """
    place = kept_path(path, disk, content, end, folder)
    there = disk.look(place).raw
    action = Action.UNCHANGED if there == content else Action.CREATE
    after = None if there == content else content
    return Change(place, action, reason, Owner.SCAFFOLD, before=there, after=after)


def kept_files(root: Path) -> list[str]:
    """The texts that are kept in a project, each once."""
    folder = root / KEPT_PATH
    if folder.is_symlink() or not folder.is_dir():
        return []
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(path.relative_to(root).as_posix() for path in found)
