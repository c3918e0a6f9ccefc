"""The lease: whether a node can still rely on its last heartbeat.

A process that was stopped, or a machine that slept, does not know it until it looks at a clock; its runs may be others' by then. So nothing
is claimed, and nothing begun, on a heartbeat that is half as old as one must be for its node to be declared lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ...core.clock import uptime
from ...core.errors import NodeSilent

_NEXT_BEAT_SECONDS = 1.0
_BEATS, _AT_MOST = 1.5, 0.9


class Lease:
    """For use on the scheduler's loop, where nothing else is said.

    Args:
        lost_after: Seconds without a heartbeat after which others may declare this node lost.
        heartbeat: Seconds between two of them: where they are rare, it holds for longer than half of that, so that it holds between them.
    """

    def __init__(self, lost_after: float, heartbeat: float = 0.0) -> None:
        self._seconds = max(lost_after / 2, min(_BEATS * heartbeat, _AT_MOST * lost_after))
        self._since = float("-inf")
        self._renewed = asyncio.Event()
        self._calls: deque[Callable[[], None]] = deque()

    @property
    def holds(self) -> bool:
        """Whether the last heartbeat is recent enough."""
        return uptime() - self._since < self._seconds

    def renew(self, asked: float) -> None:
        """A heartbeat was written, and this node is known.

        Args:
            asked: The uptime just before it was.
        """
        self._since = asked
        self._renewed.set()
        while self._calls:
            self._calls.popleft()()

    async def require(self) -> None:
        """Wait a moment for it to hold, if it does not: when a process wakes, its heartbeat follows at once.

        Raises:
            NodeSilent: it does not.
        """
        if self.holds:
            return
        try:
            await asyncio.wait_for(self._held(), _NEXT_BEAT_SECONDS)
        except TimeoutError as error:
            raise NodeSilent("no heartbeat could be written for a while") from error

    async def held_or(self, other: asyncio.Future[None]) -> None:
        """Wait until it holds or ``other`` is done."""
        held = asyncio.create_task(self._held())
        try:
            await asyncio.wait((held, other), return_when=asyncio.FIRST_COMPLETED)
        finally:
            held.cancel()

    def then(self, call: Callable[[], None]) -> None:
        """Call it now if it holds, else, on the scheduler's loop, with the next heartbeat. From any thread."""
        if self.holds:
            call()
        else:
            self._calls.append(call)

    async def _held(self) -> None:
        while not self.holds:
            self._renewed.clear()
            await self._renewed.wait()
