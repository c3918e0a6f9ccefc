"""Remaining work at the end of a storm: decide whether it makes progress, and how long to wait."""

from __future__ import annotations


class Backlog:
    """Track the set of unfinished work.

    Progress means that an item known before is finished. The number of items says nothing: when a step of a flow ends, five new runs may
    follow, so the number can grow while work proceeds.

    Args:
        patience: Seconds without progress after which the wait ends.
        longest: Seconds after which the wait ends in any case.
        now: The present instant.
    """

    def __init__(self, patience: float, longest: float, now: float) -> None:
        self.left: set[int] = set()
        self._patience = patience
        self._last = now + longest
        self._done = self._now = now

    @property
    def stands(self) -> bool:
        """Return whether items are left and none was finished for ``patience`` seconds."""
        return bool(self.left) and self._now - self._done > self._patience

    def look(self, left: set[int], now: float) -> bool:
        """Record the unfinished items; return whether to keep waiting."""
        if self.left - left:
            self._done = now
        self.left, self._now = left, now
        return bool(left) and not self.stands and now <= self._last
