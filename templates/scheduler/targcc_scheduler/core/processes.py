"""Facts about processes and mounts: from ``/proc`` on Linux, from ``psutil`` on other systems."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .extras import from_extra

ON_LINUX = sys.platform == "linux"
_PROC = Path("/proc")
_GONE = frozenset("ZX")
"""States of a process that has ended: zombie, dead."""
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system.

    Args:
        mountpoint: The folder.
        fstype: The type of the file system, such as ``ext4``.
        opts: The options, separated by commas.
    """

    mountpoint: str
    fstype: str
    opts: str


def resident_bytes(process_id: int | None = None) -> int:
    """Return the resident memory of a process in bytes; of this process for ``None``.

    Raises:
        OSError: The process is gone.
    """
    if ON_LINUX:
        file = f"{_PROC}/{process_id or 'self'}/statm"
        with open(file, "rb", 0) as pages:  # noqa: PTH123 - Path.read_text() takes twice as long
            return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    process, error = _other_process(process_id)
    try:
        return int(process.memory_info().rss)
    except error:
        raise ProcessLookupError(process_id) from None


def is_running(process_id: int) -> bool:
    """Return whether a process of this machine has not ended; true if this user may not tell."""
    if ON_LINUX:
        try:
            text = (_PROC / str(process_id) / "stat").read_text(encoding="ascii", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return False
        except OSError:
            return True
        return text.rpartition(")")[2].split()[0] not in _GONE
    psutil = _psutil()
    try:
        return bool(psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def program_of(process_id: int) -> str:
    """Return the name of a process's program; empty if the process is gone or this user may not tell."""
    if ON_LINUX:
        try:
            return (_PROC / str(process_id) / "comm").read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError):
            return ""
    psutil = _psutil()
    try:
        return str(psutil.Process(process_id).name())
    except psutil.Error:
        return ""


def mounts() -> list[Mount]:
    """Return the mounted file systems.

    Raises:
        OSError: The system does not tell.
    """
    if ON_LINUX:
        lines = (_PROC / "self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
        return [Mount(_plain(folder), kind, opts) for _, folder, kind, opts, *_ in map(str.split, lines)]  # fmt: skip
    partitions = _psutil().disk_partitions(all=True)
    return [Mount(entry.mountpoint, entry.fstype, entry.opts) for entry in partitions]


def boot_minute() -> int:
    """Return the minute at which a system without ``/proc`` was started."""
    return round(float(_psutil().boot_time()) / 60)


def _plain(folder: str) -> str:
    """Return a folder without the escapes of ``/proc/self/mounts``: a space is ``\\040``."""
    return _OCTAL.sub(lambda escape: chr(int(escape[1], 8)), folder)


def _other_process(process_id: int | None) -> tuple[Any, type[Exception]]:
    psutil = _psutil()
    error: type[Exception] = psutil.Error
    try:
        return psutil.Process(process_id), error
    except error:
        raise ProcessLookupError(process_id) from None


def _psutil() -> Any:
    with from_extra("run", "this system"):
        import psutil

    return psutil
