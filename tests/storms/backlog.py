"""What is left to do at the end of a storm: whether it is still being done, and until when to wait for it."""

from __future__ import annotations


class Backlog:
    """Looks again and again at what is not over.

    Something is done when what was left before is left no more. How much is left says nothing of that: a step of a flow that is over
    has the runs of five others after it, so that for a while there is the more to do the more is done.

    Args:
        patience: Seconds without anything done after which no more is expected.
        longest: Seconds after which it is waited for no more in any case.
        now: The present instant.
    """

    def __init__(self, patience: float, longest: float, now: float) -> None:
        self.left: set[int] = set()
        self._patience = patience
        self._last = now + longest
        self._done = self._now = now

    @property
    def stands(self) -> bool:
        """Whether something is left of which nothing was done for so long."""
        return bool(self.left) and self._now - self._done > self._patience

    def look(self, left: set[int], now: float) -> bool:
        """Note what is left by now; whether to wait for more of it."""
        if self.left - left:
            self._done = now
        self.left, self._now = left, now
        return bool(left) and not self.stands and now <= self._last
