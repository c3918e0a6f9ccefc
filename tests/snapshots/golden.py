"""Compare a tree of texts with the reviewed tree, and show every difference at once."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from pytest_snapshot.plugin import Snapshot


def assert_matches(snapshot: Snapshot, files: dict[str, str], folder: Path) -> None:
    """Fail with the diff of every file that differs, is missing or is superfluous.

    `pytest --snapshot-update` accepts the current files.

    Args:
        snapshot: pytest-snapshot's fixture.
        files: Text by POSIX path.
        folder: The reviewed tree.
    """
    update = snapshot._snapshot_update
    if not update:
        reviewed = _read(folder)
        report = _differences(reviewed, files)
        if report:
            head = (
                f"{len(report)} of the files in {folder} differ; accept them with --snapshot-update"
            )
            pytest.fail("\n".join([head, *report]), pytrace=False)
    snapshot.snapshot_dir = folder.parent
    snapshot.assert_match_dir(_nested(files), folder.name)


def difference(before: dict[str, str], after: dict[str, str]) -> str:
    """Return the difference between two trees of texts, file by file: with the first tree it gives the second, byte by byte."""
    return "".join(f"{report}\n" for report in _differences(before, after, around=1))


def _differences(before: dict[str, str], after: dict[str, str], around: int = 3) -> list[str]:
    """Return the difference of each file that is not the same, with some lines around each change."""
    return [
        _difference(path, before.get(path), after.get(path), around)
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


def _read(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _difference(path: str, before: str | None, after: str | None, around: int) -> str:
    lines = difflib.unified_diff(
        (before or "").splitlines(),
        (after or "").splitlines(),
        f"reviewed/{path}" if before is not None else "/dev/null",
        f"now/{path}" if after is not None else "/dev/null",
        lineterm="",
        n=around,
    )
    return "\n".join(lines) or f"{path}: line ends differ"


def _nested(files: dict[str, str]) -> dict[str, object]:
    """Convert `{"a/b": "text"}` to `{"a": {"b": "text"}}`, pytest-snapshot's shape."""
    root: dict[str, object] = {}
    for path, text in files.items():
        *folders, name = path.split("/")
        place = root
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = text.encode()
    return root
