"""Which file has the scheduler's lines: the one that makes the app, or the one that a server loads, where people added them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from targcc_gen.patch.app.layout import find_layout
from targcc_gen.patch.edit.wiring import Wiring, includes
from targcc_gen.patch.find import Target
from targcc_gen.patch.served.entry import Entry


def at_its_lines(target: Target, module: str, prefix: str = "") -> tuple[Target, Wiring]:
    """The file that has the lines, or else is to get them, and how it imports them.

    Args:
        target: The file that makes the app.
        module: The scheduler's package: `acme.scheduler`.
        prefix: Where the scheduler is to be; empty for what its settings say.
    """
    wiring = Wiring(module, target.layout.package, prefix)
    entry, follower = target.entry, target.follower
    path = follower.file_of(entry) if entry is not None and follower is not None else None
    if path in {None, target.path} or any(includes(target.file, wiring)):
        return target, wiring
    assert path is not None
    assert entry is not None
    assert follower is not None
    file, there = follower.file(path), replace(wiring, package=package_of(entry, path))
    if not any(includes(file, there)):
        return target, wiring
    layout = find_layout(file, path, target.root, entry.module or None)
    return replace(target, path=path, file=file, layout=layout, app=None), there


def package_of(entry: Entry, path: Path) -> str:
    """The package of the file that a server loads."""
    return entry.module if path.name == "__init__.py" else entry.module.rpartition(".")[0]
