# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Which nodes are dead. Nobody's wall clock is believed: a node is dead when its heartbeat has not changed for long enough.

How long is measured by the observer's own monotonic clock, so a clock that is set, here or there, kills nobody. On one machine a node
whose process has ended is dead at once.
"""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from .store.servers import Beat


@dataclass(frozen=True)
class _Seen:
    at: datetime
    since: float


class Liveness:
    """Watches the heartbeats of the other nodes.

    Args:
        me: The id of this node, whose own row is not judged.
        lost_after: Seconds without a change after which a node is dead.
    """

    def __init__(self, me: str, lost_after: float) -> None:
        self._me = me
        self._lost_after = lost_after
        self._seen: dict[str, _Seen] = {}
        self._looked: float | None = None

    def observe(self, beats: Sequence[Beat], looked: float) -> list[Beat]:
        """The nodes that are dead.

        Args:
            beats: What each node said last.
            looked: The monotonic time just before that was read.
        """
        if self._looked is None or looked - self._looked > self._lost_after / 2:
            self._seen.clear()  # this process was stopped itself: what it remembers proves nothing
        self._looked = looked
        for beat in beats:
            seen = self._seen.get(beat.server_id)
            if seen is None or seen.at != beat.at:
                self._seen[beat.server_id] = _Seen(beat.at, looked)
        known = {beat.server_id for beat in beats}
        self._seen = {key: seen for key, seen in self._seen.items() if key in known}
        return [
            beat for beat in beats if beat.server_id != self._me and self._is_dead(beat, looked)
        ]

    def forget(self) -> None:
        """The database was away: no heartbeat could have been seen."""
        self._seen.clear()

    def _is_dead(self, beat: Beat, looked: float) -> bool:
        if looked - self._seen[beat.server_id].since >= self._lost_after:
            return True
        return machine_of(beat.server_id) == _machine() and not _is_running(beat.process_id)


def new_server_id(name: str) -> str:
    """An id that no other node has had: ``host:process:machine:random``."""
    return f"{name[:60]}:{os.getpid()}:{_machine()}:{uuid.uuid4().hex[:8]}"


def host_name() -> str:
    """The name of this machine."""
    return socket.gethostname()[:60] or "localhost"


def machine_of(server_id: str) -> str:
    """The part of a server id that is the same for all processes which can see each other."""
    parts = server_id.rsplit(":", 2)
    return parts[1] if len(parts) == 3 else ""  # noqa: PLR2004 - see new_server_id


@functools.cache
def _machine() -> str:
    """Says which machine, boot and container this is: only there does a process id mean anything."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        boot += f"/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        boot = str(round(psutil.boot_time() / 60))
    return hashlib.sha256(f"{socket.gethostname()}/{boot}".encode()).hexdigest()[:12]


def _is_running(process_id: int) -> bool:
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
