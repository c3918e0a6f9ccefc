"""The mark of a patch that nobody has tried yet: it outlives a run that is killed in its trial."""

from __future__ import annotations

import contextlib
from pathlib import Path

MARK = ".targcc/untried"
_TEXT = """This project was patched, and the patched app was not tried to the end. Run: targcc-gen patch
"""


def mark(root: Path) -> None:
    """Say that the patch which follows is not tried."""
    path = root / MARK
    path.parent.mkdir(exist_ok=True)
    path.write_text(_TEXT, encoding="utf-8", newline="")


def unmark(root: Path) -> None:
    """The patch was tried, or is taken back."""
    path = root / MARK
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty
        path.parent.rmdir()


def is_marked(root: Path) -> bool:
    """Whether the project has a patch that was not tried."""
    return (root / MARK).is_file()
