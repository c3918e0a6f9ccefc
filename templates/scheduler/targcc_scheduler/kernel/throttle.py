"""Throttle background work, so that foreground work hardly notices the load."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

from ..db.transactions import Store

_LEAST = 100


@dataclass
class Throttle:
    """Number of rows of one transaction, and length of the pause after the transaction.

    On SQLite all other work waits for the transaction, so the transaction is short and the pause is half as long.
    On PostgreSQL no other work waits for the rows of the transaction.

    Args:
        seconds: Target duration of a transaction; the duration of the last transaction sets the number of rows of the next.
        pause: Pause after a transaction, as a share of the transaction's duration.
        size: The number of rows.
        least: The least number of rows.
        most: The limit of rows.
    """

    seconds: float
    pause: float
    size: int = _LEAST
    least: int = _LEAST
    most: int = 5_000

    @classmethod
    def on(cls, store: Store) -> Self:
        """Return the throttle for a database."""
        seconds, pause = (0.1, 0.1) if store.dialect.many_writers else (0.03, 0.5)
        return cls(seconds, pause, most=store.dialect.most_rows)

    async def rest(self, taken: float) -> None:
        """Pause after a step that took ``taken`` seconds, and adapt the number of rows."""
        await asyncio.sleep(self.learn(taken))

    def learn(self, taken: float) -> float:
        """Adapt the number of rows to the duration of the last step, at most doubling the number.

        Returns:
            The seconds to pause.
        """
        wanted = int(self.size * self.seconds / max(taken, 0.001))
        self.size = max(self.least, min(self.most, self.size * 2, wanted))
        return min(taken, self.seconds) * self.pause
