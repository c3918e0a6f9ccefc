"""Which nodes are lost. Nobody's wall clock is believed: a node is lost when its heartbeat has not changed for long enough.

How long is measured by the observer's own monotonic clock, so a clock that is set, here or there, loses nobody. A node beats by its
keepalive process while its interpreter does not answer, so age tells those that are gone, stopped or cut off from those that are busy. On
one machine a node whose process has ended is lost at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..storage.nodes import Beat
from .identity import machine_of, this_machine


@dataclass(frozen=True)
class _Seen:
    at: datetime
    mark: object
    since: float


class FailureDetector:
    """Watches the heartbeats of the other nodes.

    Args:
        me: The id of this node, whose own row is not judged.
        lost_after: Seconds without a change after which a node is lost.
    """

    def __init__(self, me: str, lost_after: float) -> None:
        self._me = me
        self._lost_after = lost_after
        self._seen: dict[str, _Seen] = {}
        self._looked: float | None = None

    def observe(self, beats: Sequence[Beat], looked: float) -> list[Beat]:
        """The nodes that are lost.

        Args:
            beats: What each node said last.
            looked: The monotonic time just before that was read.
        """
        if self._looked is None or looked - self._looked > self._lost_after / 2:
            self._seen.clear()  # this process was stopped itself: what it remembers proves nothing
        self._looked = looked
        for beat in beats:
            seen = self._seen.get(beat.server_id)
            if seen is None or (seen.at, seen.mark) != (beat.at, beat.mark):
                self._seen[beat.server_id] = _Seen(beat.at, beat.mark, looked)
        known = {beat.server_id for beat in beats}
        self._seen = {key: seen for key, seen in self._seen.items() if key in known}
        return [
            beat for beat in beats if beat.server_id != self._me and self._is_lost(beat, looked)
        ]

    def forget(self) -> None:
        """The database was unavailable: no heartbeat could have been seen."""
        self._seen.clear()

    def _is_lost(self, beat: Beat, looked: float) -> bool:
        if looked - self._seen[beat.server_id].since >= self._lost_after:
            return True
        return machine_of(beat.server_id) == this_machine() and not _is_running(beat.process_id)


def _is_running(process_id: int) -> bool:
    import psutil  # only with other nodes on this machine

    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
