"""File system of a few megabytes that tests can fill completely."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SmallDisk:
    """Small disk mounted at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Fill the disk."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """Free the filled space."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def mounted(megabytes: int) -> Iterator[SmallDisk]:
    """Mount a small disk. Needs root, or sudo without a password as on build servers, or ``unshare -Urm`` around the tests."""
    folder = Path(tempfile.mkdtemp(prefix="targcc-small-disk-"))
    folder.chmod(0o755)
    mount = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={megabytes}m,mode=0777",
        "tmpfs",
        os.fspath(folder),
    ]
    as_root = (
        []
        if subprocess.run(mount, check=False, capture_output=True).returncode == 0
        else ["sudo", "-n"]
    )
    if as_root:
        subprocess.run([*as_root, *mount], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run([*as_root, "umount", "--lazy", os.fspath(folder)], check=True)
        folder.rmdir()
