"""The process that holds the write lock of a SQLite file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ...core.processes import program_of
from .lock import Lock

_KERNEL_LOCKS = Path("/proc/locks")
_WRITE_BYTE = 120
"""The byte of the ``-shm`` file that the writer of a write-ahead log locks (SQLite's ``wal.c``)."""
_FILE_BYTES = range(0x40000000, 0x40000002)
"""The bytes of the database file that a writer without a write-ahead log locks (SQLite's ``os.h``)."""


def writer(file: Path, seconds: float) -> Lock | None:
    """Return the lock of the process that blocks writers of a SQLite file, after waiting for ``seconds``; ``None``: no such lock."""
    try:
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=seconds, isolation_level=None
        )
    except sqlite3.Error:
        return None
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        is_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
        return Lock(_process(file), str(file), is_strong=True) if is_busy else None
    finally:
        connection.close()
    return None


def _process(file: Path) -> str:
    """Return the name of the process with the write lock of a file; known on Linux alone."""
    places = {}
    for path, locked in ((Path(f"{file}-shm"), range(_WRITE_BYTE, _WRITE_BYTE + 1)), (file, _FILE_BYTES)):  # fmt: skip
        if path.exists():
            places[path.stat().st_ino] = locked
    try:
        lines = _KERNEL_LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return "another process"
    for line in lines:  # "1: POSIX  ADVISORY  WRITE 4711 08:01:393 120 120"
        words = line.split()
        if "WRITE" not in words or "->" in words:
            continue
        pid, place, first, last = words[-4:]
        locked = places.get(int(place.rpartition(":")[2]), range(0))
        reaches = int(first) < locked.stop and (last == "EOF" or int(last) >= locked.start)
        if locked and reaches and int(pid) > 0:
            return _named(int(pid))
    return "another process"


def _named(pid: int) -> str:
    program = program_of(pid)
    return f"process {pid} ({program})" if program else f"process {pid}"
