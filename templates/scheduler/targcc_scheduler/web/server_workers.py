"""Of the worker processes of one web server, such as ``gunicorn --workers 4``, one runs the jobs."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

log = logging.getLogger("targcc.web.server_workers")


def server_of_this_worker() -> int | None:
    """Return the process id of the server that started this process as one of its workers.

    Returns:
        ``None`` for a process that serves alone. uvicorn and hypercorn start workers by ``multiprocessing``; gunicorn forks.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        return parent.pid
    if os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/"):
        return os.getppid()
    return None


class Turn:
    """A lock of the operating system that one worker of a server holds; it is free again when the worker ends, however it ends.

    Args:
        file: File of the lock, the same for all processes of a user and a database.
        server: Process id of the server. Each server locks another byte of the file.
    """

    def __init__(self, file: Path, server: int) -> None:
        self._file, self._server = file, server
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock if no other worker holds it; return whether this process holds the lock.

        Where no file can be locked, each worker runs jobs: correct, and each worker then costs a node.
        """
        if self._descriptor is not None:
            return True
        try:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(self._file, flags, 0o600)
        except OSError as error:
            log.warning("this worker runs jobs beside the other workers: %s", error)
            return True
        try:
            _lock(descriptor, self._server)
        except OSError:  # another worker holds the lock
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let another worker take the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def turn_of(database_url: str) -> Turn | None:
    """Return the lock of this process's server and the database; ``None`` for a process that serves alone."""
    server = server_of_this_worker()
    if server is None:
        return None
    user = os.getuid() if hasattr(os, "getuid") else ""
    name = hashlib.sha256(f"{user} {database_url}".encode()).hexdigest()[:16]
    return Turn(Path(tempfile.gettempdir()) / f"targcc-{name}.lock", server)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, offset: int) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, offset: int) -> None:
        # A lock of the process: unlike flock, a forked child neither has it nor keeps it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
