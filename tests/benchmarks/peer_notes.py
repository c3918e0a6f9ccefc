"""Data shared by the processes of a comparison: start times of jobs, and the number of SQLite statements."""

import mmap
import os
import sqlite3
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Send = Callable[..., Awaitable[None]]
"""Create a run: ``send(due, later=False)``."""
NOTES, COUNTER = "BENCH_NOTES", "BENCH_COUNTER"

_files: dict[int, int] = {}


def note(sent: float) -> None:
    """Record the start of a run; the body of every compared job, the same for each system."""
    process = os.getpid()
    if process not in _files:  # a worker may fork
        _files[process] = os.open(os.environ[NOTES], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(_files[process], f"{sent:.6f} {time.time():.6f}\n".encode())


def read(file: Path) -> list[tuple[float, float]]:
    """Return due and start time of each run, in start order."""
    text = file.read_text() if file.exists() else ""
    whole, _, _ = text.rpartition("\n")  # the last line may be incomplete
    pairs = [line.split() for line in whole.splitlines()]
    return sorted(((float(due), float(began)) for due, began in pairs), key=lambda pair: pair[1])


def count_sqlite_statements() -> None:
    """Count the SQLite statements of this process, by any library, in a file that other processes can read."""
    if COUNTER not in os.environ:
        return
    file = os.open(os.environ[COUNTER], os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, 8)
    shared = mmap.mmap(file, 8)
    os.close(file)

    def counted(_: str) -> None:
        shared[:] = struct.pack("q", struct.unpack("q", shared[:])[0] + 1)

    connect = sqlite3.connect

    def connect_and_count(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(counted)
        return connection

    replacement: Any = connect_and_count
    # before any library imports the function
    sqlite3.connect = sqlite3.dbapi2.connect = replacement


def sqlite_statements(file: Path) -> int:
    """Return the number of statements sent."""
    (count,) = struct.unpack("q", file.read_bytes())
    return int(count)
