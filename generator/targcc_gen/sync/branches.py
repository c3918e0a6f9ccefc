"""Resolve git's conflict markers in generated files: update each side to the merged spec, then compare the sides."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from targcc_gen import git
from targcc_gen.render.tree import Owner, TreeFile
from targcc_gen.spec.loader import Sides, sides_of
from targcc_gen.sync.disk import OnDisk
from targcc_gen.sync.lock import LockEntry, digest
from targcc_gen.sync.merge import is_binary, merge
from targcc_gen.sync.merge_python import Formats, merge_file

# Files with markers.

_FIRST = b"<<<<<<< "


def git_conflict(disk: OnDisk) -> Sides | None:
    """Return both sides of a file that git could not merge; None for any other file."""
    text = disk.text
    if text is None or _FIRST not in text or is_binary(text):
        return None
    try:
        sides = sides_of(text.decode())
    except UnicodeDecodeError:
        return None
    # The rules of the plan handle the generator's own markers.
    return None if sides is None or sides.our_name in {"mine", "yours"} else sides


def is_certain(path: str, disk: OnDisk) -> bool:
    """Return whether the markers are a real conflict, and not text about conflicts: in a page, or in a string of a module."""
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
    """Return the file that both sides agree on under the merged spec; None where a user has to decide.

    Args:
        sides: The two versions of the file.
        generated: The file rendered from the merged spec.
        entry: The lock's entry; its `others` are the entries of the other side.
        formats: Formats of the project's Python.
    """
    if generated.owner is Owner.PATCHED or generated.replaces is not None:
        return None
    ours, theirs = sides.ours.encode(), sides.theirs.encode()
    known = [] if entry is None else [*entry.others, entry]
    followed = [
        _followed(text, generated, known, formats, is_last=is_last)
        for text, is_last in ((ours, False), (theirs, True))
    ]
    own, other = followed
    if own is None or other is None:
        return None
    if own == other:
        return own
    if generated.job or generated.owner is not Owner.MANAGED:
        return None
    merged = merge(generated.content, own, other)
    return None if merged.collisions else merged.text


def _followed(
    text: bytes, generated: TreeFile, known: list[LockEntry], formats: Formats, *, is_last: bool
) -> bytes | None:
    """Update one side's file to the merged spec; return None where that cannot be done."""
    if not known or any(digest(text) == path.sha256 for path in known):
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
    from targcc_gen.sync.jobs.decorator_merge import sync_decorator

    synced = sync_decorator(existing=text, base=base, generated=generated, one_sided=True)
    return None if synced.problem or synced.collisions else synced.text


# Versions of a file in conflict, read from git's index.

_LARGEST = 64_000_000
_CONFLICTS = range(128)
"""Accepted exit statuses of `merge-file`: the number of conflicts."""

_LABEL = re.compile(r"^([<|>]{7}).*$", re.MULTILINE)
_NAMES = {"1": "base", "2": "ours", "3": "theirs"}


@dataclass(frozen=True)
class Stages:
    """The versions of a file in an unfinished merge; None for a version without the file, or that git cannot read."""

    base: str | None = None
    ours: str | None = None
    theirs: str | None = None

    def made(self, text: str) -> bool:
        """Return whether `text` is git's own merge of these versions: nobody has edited the file since."""
        versions = (self.ours, self.base, self.theirs)
        if None in versions:
            return False
        with tempfile.TemporaryDirectory(prefix="targcc-gen-") as folder:
            paths = [Path(folder) / str(number) for number in range(3)]
            for path, version in zip(paths, versions, strict=True):
                path.write_bytes((version or "").encode())
            for style in ((), ("--diff3",), ("--zdiff3",)):
                merged = git.run_outside_repository(
                    Path(folder), "merge-file", "-p", *style, *map(str, paths), statuses=_CONFLICTS
                )
                if merged is not None and _plain(merged.decode("utf-8", "replace")) == _plain(text):
                    return True
        return False


def stages_of(root: Path, path: str) -> Stages:
    """Return the versions of a file in an unfinished merge.

    Args:
        root: The project's folder.
        path: POSIX path below the project's folder.
    """
    result: dict[str, str] = {}
    for entry in (git.read(root, "ls-files", "--unmerged", "-z", "--", path) or b"").split(b"\0"):
        facts = entry.partition(b"\t")[0].decode("ascii", "replace").split()
        if len(facts) == 3 and facts[2] in _NAMES:  # noqa: PLR2004 - mode, object, stage
            content = git.read(root, "cat-file", "blob", facts[1])
            if content is not None and len(content) <= _LARGEST:
                result[_NAMES[facts[2]]] = content.decode("utf-8", "replace")
    return Stages(**result)


def _plain(text: str) -> str:
    return _LABEL.sub(r"\1", text.replace("\r\n", "\n"))
