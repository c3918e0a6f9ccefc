"""Checks of a SQLite file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.files.owner_only import WINDOWS
from .findings import Finding, Level, mib

_INCREMENTAL = 2
WORTH_TELLING = 2**20
"""So many unused bytes are worth a word."""
_MOST_FAULTS = 5
_LONG_LOG = 256 * 2**20
_NETWORK = {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afpfs", "webdav", "9p", "afs", "ceph"} | {
    "lustre", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "davfs", "ncpfs",
}  # fmt: skip


def vacuum_advice(file: Path | str, size: int) -> str:
    """How a file that was made without ``auto_vacuum`` becomes smaller, now and from then on.

    Args:
        file: The database.
        size: Its size in bytes.
    """
    return (
        f"to make it smaller, now and from then on, stop every process and run once (it needs up to {mib(2 * size)} of free disk,\n"
        f'and ten seconds or more for each GiB): sqlite3 {file} "PRAGMA auto_vacuum = INCREMENTAL; VACUUM"'
    )


def file_checks(file: Path) -> Iterator[Finding]:
    """What can be said without opening it."""
    if not file.exists():
        yield Finding(
            "fail",
            "database",
            f"there is no file {file.absolute()}",
            "targcc migrate makes it, or the first process that starts; TARGCC_DATABASE_URL says where it is",
        )
        return
    yield from _place(file)
    for path in (file, file.absolute().parent):
        if not os.access(path, os.W_OK):
            advice = (
                "give it to the user that runs the scheduler; SQLite writes beside its file too"
            )
            yield Finding("fail", "file", f"this user cannot write {path}", advice)
    beside = [Path(f"{file}{end}") for end in ("-wal", "-shm", "-journal")]
    for path in (file, *(one for one in beside if one.exists())):
        yield from private(path, "with arguments of runs and hashes of passwords")
    log = Path(f"{file}-wal")
    if log.exists() and log.stat().st_size > max(_LONG_LOG, file.stat().st_size):
        said = f"the write-ahead log {log} is {mib(log.stat().st_size)}"
        advice = "some process reads for very long, such as a backup or an open sqlite3: end it"
        yield Finding("warn", "file", said, advice)


def _place(file: Path) -> Iterator[Finding]:
    kind = network_kind(file.resolve())
    if kind is not None:
        yield Finding(
            "fail",
            "file",
            f"{file} is on a network file system ({kind}): SQLite's locks and its write-ahead log do not work there",
            "move it to a local disk, or use PostgreSQL",
        )


def network_kind(file: Path) -> str | None:
    """The network file system that a file is on; ``None`` for a local disk, or where it cannot be told."""
    if str(file).startswith("\\\\"):
        return "a share"
    try:
        places = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError):
        return None
    mine = [one for one in places if file.is_relative_to(one.mountpoint)]
    place = max(mine, key=lambda one: len(Path(one.mountpoint).parts), default=None)
    if place is None:
        return None
    remote = "remote" in place.opts.split(",")
    return place.fstype if remote or place.fstype.lower() in _NETWORK else None


def private(file: Path, holds: str) -> Iterator[Finding]:
    """Whether others on this machine may write or read a file.

    Args:
        file: It is there.
        holds: What is in it.
    """
    if WINDOWS is not None:
        if WINDOWS.is_shared(file):
            said = f"all users of this machine may read {file}, {holds}"
            yield Finding("warn", "file", said, WINDOWS.advice)
        return
    mode = file.stat().st_mode
    if mode & stat.S_IWOTH:
        said = f"anybody on this machine may write {file}, and so change runs, users and tokens"
        yield Finding("fail", "file", said, f"chmod 600 {file}*")
    elif mode & stat.S_IROTH:
        said = f"anybody on this machine may read {file}, {holds}"
        yield Finding("warn", "file", said, f"chmod 600 {file}*")


async def intact(connection: AsyncConnection, file: Path) -> list[Finding]:
    """Read the whole file and look for damage."""
    rows = (await connection.exec_driver_sql(f"PRAGMA quick_check({_MOST_FAULTS})")).scalars().all()
    if list(rows) == ["ok"]:
        return [Finding("ok", "file", f"{file} is not damaged")]
    return [damaged(file, "; ".join(map(str, rows)))]


def damaged(file: Path, cause: str) -> Finding:
    """Say that a file is damaged, and how."""
    advice = f"stop every process, keep a copy, and restore a backup; sqlite3 {file} .recover saves what can be read"
    return Finding("fail", "file", f"{file} is damaged: {cause}", advice)


async def check(connection: AsyncConnection, file: Path) -> list[Finding]:
    """What the file says of itself."""
    mode = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one()
    pages, size, free, vacuum = [
        int((await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one())
        for name in ("page_count", "page_size", "freelist_count", "auto_vacuum")
    ]
    whole, unused = pages * size, free * size
    found = [Finding("ok", "file", f"{file} is {mib(whole)}, of which {mib(unused)} are unused")]
    if mode != "wal":
        said = f"{file} is in journal mode {mode}, not WAL: readers and writers wait for each other"
        advice = "any process of the scheduler switches it on; who switched it off?"
        found.append(Finding("warn", "file", said, advice))
    if vacuum != _INCREMENTAL:
        level: Level = "warn" if unused >= WORTH_TELLING else "ok"
        said = f"{file} does not shrink (auto_vacuum is not incremental, as in files of before 0.2); its unused space is used again"
        found.append(Finding(level, "file", said, vacuum_advice(file, whole)))
    return found
