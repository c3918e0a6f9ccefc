"""Beats beside a SQLite file. A beat in the database itself would wait for whoever writes; these wait for nobody.

Each node has a file of twenty digits in the folder ``<database>-nodes``, which it, or its keepalive process, writes anew at each beat.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path


class BeatFiles:
    """The beats of all nodes on a database.

    Args:
        database: The SQLite file; ``None`` for a database that many may write at once, which needs no such files.
    """

    def __init__(self, database: Path | None) -> None:
        self._folder = (
            None if database is None else database.absolute().with_name(database.name + "-nodes")
        )

    def path(self, server_id: str) -> Path | None:
        """The file of a node."""
        if self._folder is None:
            return None
        return self._folder / hashlib.sha256(server_id.encode()).hexdigest()[:32]

    def create(self, server_id: str) -> None:
        """Begin to beat.

        Raises:
            OSError: the folder of the database cannot be written.
        """
        if (path := self.path(server_id)) is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_mark())

    def beat(self, server_id: str) -> None:
        """Say that a node is alive; in place, so that a full disk does not matter."""
        if (path := self.path(server_id)) is not None:
            try:
                with path.open("r+b", buffering=0) as file:
                    file.write(_mark())
            except OSError:
                with contextlib.suppress(OSError):
                    os.utime(path)

    def mark(self, server_id: str) -> object:
        """What a node said last; another value each time. ``None``: it has no file."""
        if (path := self.path(server_id)) is None:
            return None
        try:
            return path.read_bytes(), path.stat().st_mtime_ns
        except OSError:
            return None

    def remove(self, server_id: str) -> None:
        """A node is gone."""
        if (path := self.path(server_id)) is not None:
            with contextlib.suppress(OSError):
                path.unlink()


def _mark() -> bytes:
    return b"%020d" % time.time_ns()
