"""What a node is called, and whether one on this machine still runs."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import uuid
from pathlib import Path


def new_server_id(name: str) -> str:
    """An id that no other node has had: ``host:process:machine:random``."""
    return f"{name[:60]}:{os.getpid()}:{this_machine()}:{uuid.uuid4().hex[:8]}"


def host_name() -> str:
    """The name of this machine."""
    return socket.gethostname()[:60] or "localhost"


def machine_of(server_id: str) -> str:
    """The part of a server id that is the same for all processes which can see each other."""
    parts = server_id.rsplit(":", 2)
    return parts[1] if len(parts) == 3 else ""  # noqa: PLR2004 - see new_server_id


@functools.cache
def this_machine() -> str:
    """Says which machine, boot and container this is: only there does a process id mean anything."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        boot += f"/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        import psutil  # only where the kernel does not say it

        boot = str(round(psutil.boot_time() / 60))
    return hashlib.sha256(f"{socket.gethostname()}/{boot}".encode()).hexdigest()[:12]
