"""Files that are people's and yet say which way the scheduler is had: pyproject.toml, the README and the like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from targcc_gen.render.tree import Owner, TreeFile
from targcc_gen.sync.merge import merge
from targcc_gen.sync.plan import unified_diff
from targcc_gen.sync.text import Style, plain

if TYPE_CHECKING:
    from targcc_gen.render import Tree

PYPROJECT = "pyproject.toml"
_SPEC = "targcc.yaml"  # it is edited, not followed


@dataclass
class Followed:
    """What became of them.

    Attributes:
        files: Those that change, to be written over what is on disk.
        notes: What a person has to do by hand, each with the change as a diff.
    """

    files: list[TreeFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def follow_own_files(root: Path, before: Tree, after: Tree) -> Followed:
    """Bring the change from one tree to the other into the people's files on disk; what they removed stays away.

    Args:
        root: The project's folder.
        before: The project the way it is.
        after: The project the way it is to be.
    """
    followed = Followed()
    for old, new in _changed(before, after):
        place = root / new.path
        if not place.is_file():
            continue
        raw = place.read_bytes()
        text = _followed(old, new, plain(raw))
        if text is None:
            change = unified_diff(new.path, old.content, new.content)
            followed.notes.append(f"{new.path} is edited where this would change:\n{change}")
        elif text != plain(raw):
            content = Style.of(raw).restore(text)
            followed.files.append(TreeFile(new.path, content, Owner.SCAFFOLD, replaces=raw))
    return followed


def _changed(before: Tree, after: Tree) -> Iterator[tuple[TreeFile, TreeFile]]:
    for new in after:
        old = before.files.get(new.path)
        if old is None or new.owner is not Owner.SCAFFOLD or new.path == _SPEC:
            continue
        if old.content != new.content:
            yield old, new


def _followed(old: TreeFile, new: TreeFile, yours: bytes) -> bytes | None:
    """The person's text with the change; None where it cannot follow."""
    if new.path == PYPROJECT:
        return follow_pyproject(yours, old.content, new.content)
    merged = merge(old.content, yours, new.content)
    return None if merged.collisions else merged.text


def follow_pyproject(
    yours: bytes, old: bytes, new: bytes, *, only_scheduler: bool = False
) -> bytes | None:
    """A pyproject.toml with the change, as `render.pyproject.follow` makes it; None where it is no TOML."""
    from tomlkit.exceptions import ParseError

    from targcc_gen.render.pyproject import follow

    try:
        texts = yours.decode(), old.decode(), new.decode()
        return follow(*texts, only_scheduler=only_scheduler).encode()
    except (ParseError, UnicodeDecodeError):
        return None
