"""Find the locks that keep the scheduler waiting, and the sessions or processes that hold them."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import visibility
from ..core.processes import program_of

SHORT = 2.0
"""Seconds for which a transaction may hold its locks without being reported."""
_KERNEL_LOCKS = Path("/proc/locks")
_WRITE_BYTE = 120
"""The byte of the ``-shm`` file that the writer of a write-ahead log locks (SQLite's ``wal.c``)."""
_FILE_BYTES = range(0x40000000, 0x40000002)
"""The bytes of the database file that a writer without a write-ahead log locks (SQLite's ``os.h``)."""
_SHOWN_TABLES = 3
_SESSIONS = sa.text("""
    SELECT l.pid, a.usename, a.application_name, a.state, a.xact_start,
        array_agg(DISTINCT c.relname::text) AS tables,
        bool_or(l.mode = 'AccessExclusiveLock') AS is_total,
        bool_or(l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) AS is_strong,
        (SELECT count(*) FROM pg_stat_activity w WHERE w.wait_event_type = 'Lock' AND l.pid = ANY (pg_blocking_pids(w.pid))) AS waiting
    FROM pg_locks l
    JOIN pg_class c ON c.oid = l.relation
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.granted AND l.mode <> 'AccessShareLock' AND l.pid IS DISTINCT FROM pg_backend_pid()
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('c_jobrun'))
        AND (c.relname LIKE 'c\\_job%' OR c.relname LIKE 'c\\_loggedjob%' OR c.relname LIKE 'procrastinate%')
        AND (a.xact_start IS NULL OR a.xact_start < clock_timestamp() - make_interval(secs => :seconds))
    GROUP BY l.pid, a.usename, a.application_name, a.state, a.xact_start
    ORDER BY a.xact_start
    """)


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that blocks writers.

    Args:
        holder: The session or process, for display: ``session 77 (psql, user dana)``.
        on: The locked tables, or the file.
        since: The start of the holder's transaction; ``None`` if unknown.
        waiting: The number of sessions that wait for the holder.
        is_strong: Whether the lock blocks every writer.
        is_total: Whether the lock blocks readers, too.
    """

    holder: str
    on: str
    since: datetime | None = None
    waiting: int = 0
    is_strong: bool = False
    is_total: bool = False


async def held(connection: AsyncConnection) -> list[Lock]:
    """Return the locks held by other sessions for longer than a short transaction, the oldest first.

    Reads no table of the scheduler, so that a locked table does not block the query. On SQLite, wait up to :data:`SHORT` for the write lock
    and release it at once. Return no lock to a user who may see only some jobs, because sessions are not for such users.
    """
    if visibility.get() is not None:
        return []
    if connection.dialect.name == "postgresql":
        rows = (await connection.execute(_SESSIONS, {"seconds": SHORT})).all()
        return [_session(row) for row in rows if row.is_strong or row.waiting or _is_idle(row)]
    files = (await connection.exec_driver_sql("PRAGMA database_list")).mappings().all()
    name = next((row["file"] for row in files if row["name"] == "main"), "")
    lock = await asyncio.to_thread(writer, Path(name)) if name else None
    return [lock] if lock is not None else []


def _is_idle(row: Any) -> bool:
    return (row.state or "").startswith("idle in transaction")


def _session(row: Any) -> Lock:
    details = [row.application_name, f"user {row.usename}" if row.usename else "", row.state]
    about = ", ".join(part for part in details if part)
    holder = "a prepared transaction" if row.pid is None else f"session {row.pid}"
    tables = sorted(row.tables)
    more = len(tables) - _SHOWN_TABLES
    on = ", ".join(tables[:_SHOWN_TABLES]) + (f" and {more} more" if more > 0 else "")
    return Lock(
        f"{holder} ({about})" if about else holder,
        on,
        row.xact_start,
        row.waiting,
        row.is_strong,
        row.is_total,
    )


def writer(file: Path) -> Lock | None:
    """Return the lock of the process that blocks writers of a SQLite file, after waiting for :data:`SHORT`; ``None``: no such lock."""
    try:
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=SHORT, isolation_level=None
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
