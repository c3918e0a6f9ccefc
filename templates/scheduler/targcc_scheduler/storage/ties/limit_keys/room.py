"""What is left of a key: room, and tokens."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

AT_ONCE = 200
"""Runs of one key that are let go at a time; the end of each lets more go."""

Row = Any
"""A row of a table: its columns by name."""


class Room:
    """What is left of a key.

    Args:
        limit: What :func:`.asking.look` says of it.
        unbegun: How many of its runs have room and have not begun.
        now: The present instant, by the database's clock.
    """

    def __init__(self, limit: Row, unbegun: int, now: datetime) -> None:
        self.limit = limit
        self.now = now
        self._left = math.inf if limit.Most is None else limit.Most - limit.taken
        self._is_free = limit.taken == 0 and limit.Most != 0
        self.tokens: float = math.inf  # without a rate there is no need of any
        self.full_at = now
        self.token_at: datetime | None = None
        if limit.IntervalMs is not None:
            self._interval = timedelta(milliseconds=limit.IntervalMs)
            burst = limit.Burst or 1
            self.full_at = max(now, limit.NextAt or now)
            saved = (now + burst * self._interval - self.full_at) // self._interval
            self.tokens = min(saved, burst - unbegun)
            at = self.full_at + (1 - burst) * self._interval
            self.token_at = at if at > now else now + self._interval

    @property
    def count(self) -> int:
        """How many runs are worth a look."""
        return int(max(min(self._left, AT_ONCE), 0))

    def take(self, weight: int) -> bool:
        """Take room and a token for a run; one that is heavier than the whole limit goes alone."""
        if self.tokens < 1 or (weight > self._left and not self._is_free):
            return False
        self._left -= weight
        self._is_free = False
        self.tokens -= 1
        if self.token_at is not None:
            self.full_at += self._interval
            at = self.full_at + (1 - (self.limit.Burst or 1)) * self._interval
            self.token_at = max(at, self.now + self._interval / 2)
        return True
