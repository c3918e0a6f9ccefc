"""The rule for people's own files in the folder where an earlier release had the scheduler: they follow it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from targcc_gen.render.tree import Owner, Tree
from targcc_gen.sync.folder.disk import Disk
from targcc_gen.sync.lock import Lock
from targcc_gen.sync.plan.kept import keep
from targcc_gen.sync.plan.outcome import Outcome
from targcc_gen.sync.plan.plan import Action, Change
from targcc_gen.sync.renames.table import HOME, Renames, has_old_place


def own_files_moved(tree: Tree, lock: Lock, disk: Disk, renames: Renames) -> dict[str, Outcome]:
    """The outcomes of people's own files in the scheduler's old folder, and at their new places.

    Args:
        tree: What the spec asks for.
        lock: The lock as it is.
        disk: The project.
        renames: Where files went.
    """
    if not has_old_place(lock.entries, tree.layout):
        return {}
    vendored = any(path.startswith(HOME) for path in tree.files)
    outcomes: dict[str, Outcome] = {}
    for path in _files(disk.root, renames.old_place):
        if path in lock.entries or path in tree.files:
            continue
        outcomes |= (
            _moved(path, tree, disk, renames) if vendored else {path: _in_the_way(path, disk)}
        )
    return outcomes


def _moved(path: str, tree: Tree, disk: Disk, renames: Renames) -> dict[str, Outcome]:
    home, here = renames.home(path), disk.look(path)
    if here.raw is None or here.blocked:
        return {path: _in_the_way(path, disk, here.blocked or "")}
    gone = Change(path, Action.DELETE, f"moved to {home}", Owner.SCAFFOLD, here.raw, moved=(home,))
    there = disk.look(home)
    if home in tree.files or there.raw is not None or there.blocked:
        kept = keep(path, disk, here.raw, ".txt", "your file, as it was")
        reason = f"{home} is another file: yours is in {kept.path}"
        gone = replace(gone, reason=reason, moved=())
        return {path: Outcome(gone, None), kept.path: Outcome(kept, None)}
    new = Change(home, Action.CREATE, "yours, moved with the scheduler", Owner.SCAFFOLD)
    return {path: Outcome(gone, None), home: Outcome(replace(new, after=here.raw), None)}


def _in_the_way(path: str, disk: Disk, reason: str = "") -> Outcome:
    """A person has to say where the file belongs: beside a module `scheduler.py` nothing imports it."""
    reason = (
        reason
        or "yours, and in a folder that is a module now: move it, such as into the folder above"
    )
    change = Change(path, Action.CONFLICT, reason, Owner.SCAFFOLD, disk.look(path).raw)
    return Outcome(replace(change, settleable=False), None)


def _files(root: Path, folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(root / folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        below = Path(place).relative_to(root)
        yield from ((below / name).as_posix() for name in sorted(files))
