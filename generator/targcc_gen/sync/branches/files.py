"""Generated files in which git left its markers: each side follows the merged spec, and then both may say the same."""

from __future__ import annotations

from targcc_gen.render.tree import Owner, TreeFile
from targcc_gen.spec.reading.markers import Sides, sides_of
from targcc_gen.sync.folder.disk import OnDisk
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merging.formats import Formats
from targcc_gen.sync.merging.merge import merge
from targcc_gen.sync.merging.python import merge_file
from targcc_gen.sync.merging.text import is_binary

_FIRST = b"<<<<<<< "


def git_conflict(disk: OnDisk) -> Sides | None:
    """Both sides of a file that git could not merge; None for any other file."""
    text = disk.text
    if text is None or _FIRST not in text or is_binary(text):
        return None
    try:
        found = sides_of(text.decode())
    except UnicodeDecodeError:
        return None
    # The generator's own markers are for the rules of the plan.
    return None if found is None or found.our_name in {"mine", "yours"} else found


def is_certain(path: str, disk: OnDisk) -> bool:
    """Whether the markers are a conflict, and not a text about conflicts: in a page, or in a string of a module."""
    if not path.endswith(".py"):
        return not path.endswith((".md", ".txt"))
    import ast

    try:
        ast.parse(disk.text or b"")
    except (SyntaxError, ValueError):
        return True
    return False


def settled(
    sides: Sides, generated: TreeFile, entry: LockEntry | None, formats: Formats
) -> bytes | None:
    """The file as both sides would have it under the merged spec; None where a person has to decide.

    Args:
        sides: The file's two versions.
        generated: As the merged spec asks for it.
        entry: What the lock remembers of one side, and of the other.
        formats: How the project's Python may be written.
    """
    if generated.owner is Owner.PATCHED or generated.replaces is not None:
        return None
    ours, theirs = sides.ours.encode(), sides.theirs.encode()
    known = [] if entry is None else [*entry.others, entry]
    followed = [
        _followed(text, generated, known, formats, is_last=is_last)
        for text, is_last in ((ours, False), (theirs, True))
    ]
    mine, other = followed
    if mine is None or other is None:
        return None
    if mine == other:
        return mine
    if generated.job or generated.owner is not Owner.MANAGED:
        return None
    merged = merge(generated.content, mine, other)
    return None if merged.collisions else merged.text


def _followed(
    text: bytes, generated: TreeFile, known: list[LockEntry], formats: Formats, *, is_last: bool
) -> bytes | None:
    """One side's file, brought to what the merged spec asks for."""
    if not known or any(digest(text) == one.sha256 for one in known):
        return generated.content if known else None
    entry = known[-1] if is_last else known[0]
    if entry.base is None:
        return None
    if generated.job:
        return _by_decorator(text, generated.content, entry.base)
    if generated.owner is Owner.SCAFFOLD:
        return None
    merged = merge_file(generated.path, entry.base, text, generated.content, formats=formats)
    return None if merged.collisions else merged.text


def _by_decorator(text: bytes, generated: bytes, base: bytes) -> bytes | None:
    from targcc_gen.sync.decorators.sync_decorator import sync_decorator

    synced = sync_decorator(mine=text, base=base, generated=generated, one_sided=True)
    return None if synced.problem or synced.collisions else synced.text
