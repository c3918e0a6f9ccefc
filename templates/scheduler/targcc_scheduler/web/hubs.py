"""Hubs of open streams: one loop polls for all listeners."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.clock import Clock
from ..core.errors import QueryTimeout
from ..core.job_scope import everything_visible
from ..core.outage import OUTAGES, Outage
from ..features.accounts.roles import Principal
from ..kernel.queries.models import LogLine
from ..kernel.queries.runs import Change, Changes, RunStatus, changes_since, lines_after, statuses
from .problems import Problem

# A loop that goes on while there is somebody to tell.

log = logging.getLogger("targcc.web.live.rounds")

W = TypeVar("W")
"""Somebody who is told."""
Read = Callable[[Callable[[AsyncConnection], Awaitable[Any]]], Awaitable[Any]]
"""Answers a query from the scheduler's database."""
_AFTER_FAULT_SECONDS = 5.0


class PollLoop(Generic[W]):
    """Looks again and again while there is somebody to tell, through outages of the database and faults too. For one event loop.

    Args:
        what: What it does, for the log.
        once: One look; returns the seconds until the next.
    """

    def __init__(self, what: str, once: Callable[[], Awaitable[float]]) -> None:
        self.listeners: set[W] = set()
        """Who is told."""
        self._what = what
        self._once = once
        self._outage = Outage(log, what)
        self._going: asyncio.Task[None] | None = None
        self._come = asyncio.Event()

    @contextlib.contextmanager
    def join(self, listener: W) -> Iterator[W]:
        """Tell somebody for as long as the context lasts, who waits for no round of others."""
        self.listeners.add(listener)
        self._begin()
        try:
            yield listener
        finally:
            self.listeners.discard(listener)

    def _begin(self) -> None:
        self._come.set()
        if self._going is None or self._going.done():
            with everything_visible():  # they are for everybody, not for whoever came first
                self._going = asyncio.create_task(self._go(), name="targcc live")

    async def _go(self) -> None:
        while self.listeners:
            self._come.clear()
            try:
                wait = await self._once()
                self._outage.over()
            except (*OUTAGES, QueryTimeout) as error:
                wait = self._outage.failed(error).total_seconds()
            except Exception:
                log.exception("%s failed, which is a fault; it goes on", self._what)
                await asyncio.sleep(_AFTER_FAULT_SECONDS)  # also for whoever comes meanwhile
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._come.wait(), wait)


# How many streams of events may be open, so that they do not take the connections of pages.

MOST_EACH = 4
"""Streams of one person or program. A browser has six connections to a site: two are left for pages."""
MOST = 100
"""Streams of one process."""


class StreamLimits:
    """Counts the open streams of a process.

    Args:
        most: So many altogether.
        most_each: So many of one person or program.
    """

    def __init__(self, most: int = MOST, most_each: int = MOST_EACH) -> None:
        self._most = most
        self._most_each = most_each
        self._open: Counter[str] = Counter()

    def check(self, principal: Principal) -> None:
        """See that there is room for one more.

        Raises:
            Problem: there is none.
        """
        mine = self._open[principal.name] >= self._most_each
        if mine or self._open.total() >= self._most:
            whose = f"{principal.name} has" if mine else "there are"
            limit = self._most_each if mine else self._most
            raise Problem(
                429,
                "Too many streams",
                f"{whose} {limit} open streams of events: close one, or ask now and then",
                headers={"Retry-After": "30"},
            )

    @contextlib.contextmanager
    def one(self, principal: Principal) -> Iterator[None]:
        """Count a stream while it is open."""
        self._open[principal.name] += 1
        try:
            yield
        finally:
            self._open[principal.name] -= 1
            if not self._open[principal.name]:
                del self._open[principal.name]


# Where open streams and waiting requests hear of runs: one loop looks for all of them, while there is somebody to tell.
#
# So a hundred viewers cost one short query in each round, whichever node the runs are on, and take one of the pages' connections at most.

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
        self._rounds = PollLoop[Watcher]("following runs for open pages", self._round)

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


# The changes of all runs, for programs that want to hear of them: one loop looks, while there is one.

_CHANGES_ROUND_SECONDS = 1.0
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
        self._rounds = PollLoop[Listener]("looking for changes of runs", self._round)

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
        return _CHANGES_ROUND_SECONDS
