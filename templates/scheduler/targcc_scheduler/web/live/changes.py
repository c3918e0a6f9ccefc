"""The changes of all runs, for programs that want to hear of them: one loop looks, while there is one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from ...core.clock import Clock
from ...queries.following.changes import Change, Changes, changes_since
from .rounds import Read, Rounds

_ROUND_SECONDS = 1.0
OVERLAP = timedelta(seconds=10)
"""A change is dated before it is committed; one that is committed later than this is not told."""
_MOST_WAITING = 5_000


class Listener:
    """Somebody who hears of changes.

    Args:
        after: Of those from then on.
    """

    def __init__(self, after: datetime) -> None:
        self.behind = False
        """More has changed than it took: it has to come again."""
        self._after = after
        self._told: dict[str, datetime] = {}
        self._waiting: deque[Change] = deque()
        self._news = asyncio.Event()

    def hear(self, found: Sequence[Change]) -> None:
        """These have changed just now."""
        self.catch_up(found)
        self.behind = self.behind or len(self._waiting) > _MOST_WAITING

    def catch_up(self, found: Sequence[Change]) -> None:
        """These have changed, lately or while it was away; what it has heard of is left out."""
        for one in found:
            if one.at >= self._after and one.key not in self._told:
                self._told[one.key] = one.at
                self._waiting.append(one)
        if self._waiting:
            self._news.set()

    def forget(self, before: datetime) -> None:
        """Nothing from before an instant will be found again."""
        self._told = {key: at for key, at in self._told.items() if at >= before}

    async def news(self, seconds: float) -> list[Change]:
        """Wait for something to change, at most so long; what has."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()
        found = list(self._waiting)
        self._waiting.clear()
        return found


class ChangeFeed:
    """Looks for changes. For one event loop.

    Args:
        read: Answers a query from the scheduler's database.
        clock: The time by which changes are dated.
    """

    def __init__(self, read: Read, clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._since: datetime | None = None
        self._rounds = Rounds[Listener]("looking for changes of runs", self._round)

    async def missed(self, since: datetime) -> Changes:
        """What has changed since an instant, for a reader that comes back."""
        found: Changes = await self._read(lambda db: changes_since(db, since))
        return found

    def listen(self, after: datetime) -> AbstractContextManager[Listener]:
        """Hear of what changes, for as long as the context lasts."""
        if not self._rounds.listeners:
            self._since = None
        return self._rounds.join(Listener(after))

    async def _round(self) -> float:
        """One look; the seconds until the next."""
        now = self._clock.now()
        since = self._since or now - OVERLAP
        changes: Changes = await self._read(lambda db: changes_since(db, since))
        for one in self._rounds.listeners:
            one.forget(since)
            one.hear(changes.found)
        if changes.until is not None and changes.until > since:
            self._since = changes.until
            return 0.0
        self._since = now - OVERLAP
        return _ROUND_SECONDS
