"""How fast work goes on that can wait, so that whoever cannot wait hardly notices it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

from ..db.transactions import Store

_LEAST, _MOST = 100, 5_000


@dataclass
class Throttle:
    """How much one transaction does, and how long the others have the database to themselves after it.

    On SQLite everybody waits for it, so it is short and half of it is a pause; on PostgreSQL nobody waits for its rows.

    Args:
        seconds: How long one may take; its number of rows follows from how long the last one took.
        pause: The pause after it, as a share of it.
        size: The number of rows.
    """

    seconds: float
    pause: float
    size: int = _LEAST

    @classmethod
    def on(cls, store: Store) -> Self:
        """The pace for a database."""
        return cls(0.1, 0.1) if store.dialect.many_writers else cls(0.03, 0.5)

    async def rest(self, taken: float) -> None:
        """Pause after a step that took so many seconds."""
        await asyncio.sleep(self.learn(taken))

    def learn(self, taken: float) -> float:
        """Take more rows when the step was quick, fewer when it was slow, at most double; returns the seconds of the pause."""
        wanted = int(self.size * self.seconds / max(taken, 0.001))
        self.size = max(_LEAST, min(_MOST, self.size * 2, wanted))
        return min(taken, self.seconds) * self.pause
