"""Where open streams and waiting requests hear of runs: one loop looks for all of them, while there is somebody to tell.

So a hundred viewers cost one short query in each round, whichever node the runs are on, and take one of the pages' connections at most.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AbstractContextManager

from sqlalchemy.ext.asyncio import AsyncConnection

from ...queries.following.runs import RunStatus, lines_after, statuses
from ...queries.models import LogLine
from .rounds import Read, Rounds

MOST_LINES = 500
"""Lines of a run in one round; a reader that is behind gets the next ones in the next."""
_ROUND_SECONDS = 0.5


class Watcher:
    """Somebody who watches one run. What comes is fetched when the last was taken, so a slow reader holds no more than one round.

    Args:
        run_id: The run.
        after: Log lines after this key are wanted; ``None``: none are.
    """

    def __init__(self, run_id: int, after: int | None) -> None:
        self.run_id = run_id
        self.after = after
        self.status: RunStatus | None = None
        self.ended = False
        """The run is over, or gone (then :attr:`status` is ``None``), and every line of it was given."""
        self._lines: tuple[LogLine, ...] = ()
        self._news = asyncio.Event()

    @property
    def place(self) -> tuple[int, int] | None:
        """The run and the key after which lines are to be read; ``None`` while no more are wanted."""
        if self.after is None or self._lines or self.ended:
            return None
        return self.run_id, self.after

    def hear(self, status: RunStatus | None, lines: tuple[LogLine, ...] | None) -> None:
        """What a round has found. ``lines`` is ``None`` when none were asked for."""
        if self.ended:
            return
        changed = status != self.status
        over = status is None or status.final
        self.status = status
        if lines:
            self._lines, self.after = lines, lines[-1].id
        asked = lines is not None or self.after is None
        self.ended = over and asked and len(lines or ()) < MOST_LINES
        if changed or lines or self.ended:
            self._news.set()

    async def news(self, seconds: float) -> tuple[LogLine, ...]:
        """Wait for something to happen, at most so long; the lines that came."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()
        lines, self._lines = self._lines, ()
        return lines


class RunHub:
    """Looks at the runs that somebody watches. For one event loop.

    Args:
        read: Answers a query from the scheduler's database.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rounds = Rounds[Watcher]("following runs for open pages", self._round)

    def watch(self, run_id: int, after: int | None = None) -> AbstractContextManager[Watcher]:
        """Hear of a run, and of its log lines after a key, for as long as the context lasts."""
        return self._rounds.join(Watcher(run_id, after))

    async def until_final(self, run_id: int, seconds: float) -> None:
        """Wait until a run is over, but not longer than so."""
        with self.watch(run_id) as watcher, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not watcher.ended:
                    await watcher.news(seconds)

    async def _round(self) -> float:
        """One look; the seconds until the next: none if somebody is behind."""
        watchers = [one for one in self._rounds.listeners if not one.ended]
        ids = {one.run_id for one in watchers}
        places = {place for one in watchers if (place := one.place) is not None}
        if not ids:
            return _ROUND_SECONDS

        async def query(
            db: AsyncConnection,
        ) -> tuple[dict[int, RunStatus], dict[tuple[int, int], tuple[LogLine, ...]]]:
            # States first: of a run that is over by then, every line is there.
            found = await statuses(db, ids)
            return found, {
                (run_id, after): await lines_after(db, run_id, after, MOST_LINES)
                for run_id, after in places
            }

        found, lines = await self._read(query)
        behind = False
        for one in watchers:
            place = one.place
            mine = None if place is None else lines.get(place)
            one.hear(found.get(one.run_id), mine)
            behind = behind or len(mine or ()) == MOST_LINES
        return 0.0 if behind else _ROUND_SECONDS
