"""What people did in the folder of the scheduler: edits that a switch would drop, and files of their own that stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from targcc_gen.sync.lock import digest
from targcc_gen.sync.merging.text import plain
from targcc_gen.sync.plan.outcome import is_formatted
from targcc_gen.sync.plan.plan import unified_diff

if TYPE_CHECKING:
    from targcc_gen.render import Tree
    from targcc_gen.sync import Lock, LockEntry


@dataclass(frozen=True)
class Edit:
    """A file of the scheduler that is not as it was written.

    Attributes:
        path: POSIX path below the project's folder.
        diff: What the person changed, as a unified diff.
    """

    path: str
    diff: str

    def to_json(self) -> dict[str, str]:
        """The edit for a program."""
        return {"path": self.path, "diff": self.diff}


def edits(root: Path, folder: str, lock: Lock, before: Tree) -> Iterator[Edit]:
    """The edits of managed files in a folder; ejected files are people's own.

    Args:
        root: The project's folder.
        folder: The scheduler's folder below it, ending in `/`.
        lock: What was written.
        before: The project as it is asked for now.
    """
    for path, entry in lock.entries.items():
        if not path.startswith(folder) or entry.ejected:
            continue
        place = root / path
        if not place.is_file():
            continue
        text = place.read_bytes()
        if digest(plain(text)) != entry.sha256 and not is_formatted(entry, plain(text)):
            yield Edit(path, unified_diff(path, _written(entry, before), text))


def people_s_files(root: Path, folder: str, lock: Lock) -> Iterator[str]:
    """The files in a folder that are people's own: added by them, or ejected."""
    for place in sorted((root / folder).rglob("*")):
        path = place.relative_to(root).as_posix()
        entry = lock.entries.get(path)
        is_own = entry is None or entry.ejected
        if is_own and place.is_file() and "__pycache__" not in place.parts:
            yield path


def _written(entry: LockEntry, before: Tree) -> bytes | None:
    """The text that the person found: as the lock kept it, or as it is rendered now."""
    if entry.base is not None:
        return entry.base
    rendered = before.files.get(entry.path)
    return None if rendered is None else rendered.content
