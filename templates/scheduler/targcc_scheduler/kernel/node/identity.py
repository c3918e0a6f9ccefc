"""Ids of nodes and machines."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import uuid
from pathlib import Path


def new_server_id(name: str) -> str:
    """Return a new unique node id: ``host:process:machine:random``."""
    return f"{name[:60]}:{os.getpid()}:{this_machine()}:{uuid.uuid4().hex[:8]}"


def host_name() -> str:
    """Return the name of this machine, at most 60 characters."""
    return socket.gethostname()[:60] or "localhost"


def machine_of(server_id: str) -> str:
    """Return the machine part of a node id; processes that can see each other share this part."""
    parts = server_id.rsplit(":", 2)
    return parts[1] if len(parts) == 3 else ""  # noqa: PLR2004 - see new_server_id


@functools.cache
def this_machine() -> str:
    """Return a digest of host name, boot and container: a process id is meaningful only within these three."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        boot += f"/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        import psutil  # needed only without /proc

        boot = str(round(psutil.boot_time() / 60))
    return hashlib.sha256(f"{socket.gethostname()}/{boot}".encode()).hexdigest()[:12]
