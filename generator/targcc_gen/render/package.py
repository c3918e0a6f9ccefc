"""The installed package `targcc_scheduler`, whose files a project has as a copy or in a wheel."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path

DISTRIBUTION = "targcc-scheduler"
PACKAGE = "targcc_scheduler"


@cache
def package_files() -> tuple[tuple[str, bytes], ...]:
    """The path and the bytes of each file of the installed package, sorted; text ends its lines with `\\n`."""
    root, found = package_folder(), []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name != "__pycache__"]
        found += [Path(folder, name) for name in names]
    return tuple(
        (file.relative_to(root).as_posix(), _plain(file.read_bytes())) for file in sorted(found)
    )


def package_folder() -> Path:
    """Where the installed package is."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None  # the generator depends on it
    assert spec.origin is not None
    return Path(spec.origin).parent


def _plain(content: bytes) -> bytes:
    return content if b"\0" in content else content.replace(b"\r\n", b"\n")
