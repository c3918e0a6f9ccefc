"""The people's pyproject.toml, which follows line by line; other files of theirs follow by the rules of `sync`."""

from __future__ import annotations

from pathlib import Path

from targcc_gen.render.tree import Owner, TreeFile
from targcc_gen.sync.merging.text import Style, plain

PYPROJECT = "pyproject.toml"


def follow_pyproject(
    root: Path, old: bytes, new: bytes, *, only_scheduler: bool = False
) -> TreeFile | None:
    """An edited pyproject.toml with what changes, to be written over what is on disk.

    Args:
        root: The project's folder.
        old: The file as it is rendered the way it is.
        new: The file as it is rendered the way it is to be.
        only_scheduler: As for `render.pyproject.follow`.

    Returns:
        The file; None where it is not there, is as it was rendered, does not change, or is no TOML.
    """
    from tomlkit.exceptions import ParseError

    from targcc_gen.render.pyproject import follow

    place = root / PYPROJECT
    if not place.is_file():
        return None
    raw = place.read_bytes()
    mine = plain(raw)
    try:
        texts = mine.decode(), old.decode(), new.decode()
        text = follow(*texts, only_scheduler=only_scheduler).encode()
    except (ParseError, UnicodeDecodeError):
        return None
    if mine in {old, text}:
        return None
    return TreeFile(PYPROJECT, Style.of(raw).restore(text), Owner.SCAFFOLD, replaces=raw)
