"""Hubs of open streams: a shared loop polls for all listeners."""

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

from ..core.actor import everything_visible
from ..core.clock import Clock
from ..core.errors import QueryTimeout
from ..core.identity import Principal
from ..core.outage import OUTAGES, Outage
from ..kernel.queries.models import LogLine
from ..kernel.queries.runs import Change, Changes, RunStatus, changes_since, lines_after, statuses
from .problems import Problem

# Poll loop that runs while listeners are registered.

log = logging.getLogger("targcc.web.hubs")

W = TypeVar("W")
"""Listener type."""
Read = Callable[[Callable[[AsyncConnection], Awaitable[Any]]], Awaitable[Any]]
"""Function that runs a query against the scheduler's database."""
_AFTER_FAULT_SECONDS = 5.0


class PollLoop(Generic[W]):
    """Poll while listeners are registered; survive database outages and faults. For one event loop.

    Args:
        what: Loop description for the log.
        once: Poll once and return the seconds until the next poll.
    """

    def __init__(self, what: str, once: Callable[[], Awaitable[float]]) -> None:
        self.listeners: set[W] = set()
        """Registered listeners."""
        self._what = what
        self._once = once
        self._outage = Outage(log, what)
        self._going: asyncio.Task[None] | None = None
        self._come = asyncio.Event()

    @contextlib.contextmanager
    def join(self, listener: W) -> Iterator[W]:
        """Register a listener while the context lasts, and poll at once."""
        self.listeners.add(listener)
        self._begin()
        try:
            yield listener
        finally:
            self.listeners.discard(listener)

    def _begin(self) -> None:
        self._come.set()
        if self._going is None or self._going.done():
            with everything_visible():  # the loop serves all listeners, not only the first
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
                await asyncio.sleep(_AFTER_FAULT_SECONDS)  # new listeners wait too
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._come.wait(), wait)


# Limits of open event streams, so that connections remain for pages.

MOST_EACH = 4
"""Most open streams per principal. A browser opens six connections to a site: two remain for pages."""
MOST = 100
"""Most open streams per process."""


class StreamLimits:
    """Count the open streams of a process.

    Args:
        most: Most open streams altogether.
        most_each: Most open streams per principal.
    """

    def __init__(self, most: int = MOST, most_each: int = MOST_EACH) -> None:
        self._most = most
        self._most_each = most_each
        self._open: Counter[str] = Counter()

    def check(self, principal: Principal) -> None:
        """Check that the principal may open a further stream.

        Raises:
            Problem: a limit is reached.
        """
        own_limit = self._open[principal.name] >= self._most_each
        if own_limit or self._open.total() >= self._most:
            whose = f"{principal.name} has" if own_limit else "there are"
            limit = self._most_each if own_limit else self._most
            raise Problem(
                429,
                "Too many streams",
                f"{whose} {limit} open streams of events: close one, or ask now and then",
                headers={"Retry-After": "30"},
            )

    @contextlib.contextmanager
    def one(self, principal: Principal) -> Iterator[None]:
        """Count a stream while the context lasts."""
        self._open[principal.name] += 1
        try:
            yield
        finally:
            self._open[principal.name] -= 1
            if not self._open[principal.name]:
                del self._open[principal.name]


# Hub of single runs: a shared poll loop serves open streams and waiting requests while any are registered.
#
# A hundred viewers thus cost a single short query per round, on whatever node the runs are, and use at most a single pooled connection.

MOST_LINES = 500
"""Most log lines of a run per round; a reader that is behind gets further lines in the next round."""
_ROUND_SECONDS = 0.5


class Watcher:
    """Listener for a single run. The next lines are read after the last lines were taken, so a slow reader buffers at most a single round.

    Args:
        run_id: Run id.
        after: Read log lines after this key; ``None`` reads no log lines.
    """

    def __init__(self, run_id: int, after: int | None) -> None:
        self.run_id = run_id
        self.after = after
        self.status: RunStatus | None = None
        self.ended = False
        """True if the run is over or gone (then :attr:`status` is ``None``) and all its lines were delivered."""
        self._lines: tuple[LogLine, ...] = ()
        self._news = asyncio.Event()

    @property
    def place(self) -> tuple[int, int] | None:
        """Return the run id and the key of the last line read; ``None`` while no lines are to be read."""
        if self.after is None or self._lines or self.ended:
            return None
        return self.run_id, self.after

    def hear(self, status: RunStatus | None, lines: tuple[LogLine, ...] | None) -> None:
        """Take the result of a round. ``lines`` is ``None`` if the round read no lines for this watcher."""
        if self.ended:
            return
        changed = status != self.status
        over = status is None or status.final
        self.status = status
        if lines:
            self._lines, self.after = lines, lines[-1].id
        lines_read = lines is not None or self.after is None
        self.ended = over and lines_read and len(lines or ()) < MOST_LINES
        if changed or lines or self.ended:
            self._news.set()

    async def news(self, seconds: float) -> tuple[LogLine, ...]:
        """Wait for news, at most ``seconds``, and return the new log lines."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()
        lines, self._lines = self._lines, ()
        return lines


class RunHub:
    """Poll the watched runs. For one event loop.

    Args:
        read: Function that runs a query against the scheduler's database.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rounds = PollLoop[Watcher]("following runs for open pages", self._round)

    def watch(self, run_id: int, after: int | None = None) -> AbstractContextManager[Watcher]:
        """Watch a run, and its log lines after a key, while the context lasts."""
        return self._rounds.join(Watcher(run_id, after))

    async def until_final(self, run_id: int, seconds: float) -> None:
        """Wait until a run is over, at most ``seconds``."""
        with self.watch(run_id) as watcher, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not watcher.ended:
                    await watcher.news(seconds)

    async def _round(self) -> float:
        """Poll once and return the seconds until the next poll: 0 if a watcher is behind."""
        watchers = [watcher for watcher in self._rounds.listeners if not watcher.ended]
        ids = {watcher.run_id for watcher in watchers}
        places = {place for watcher in watchers if (place := watcher.place) is not None}
        if not ids:
            return _ROUND_SECONDS

        async def query(
            db: AsyncConnection,
        ) -> tuple[dict[int, RunStatus], dict[tuple[int, int], tuple[LogLine, ...]]]:
            # Read states before lines: if a run is over, all its lines are stored by then.
            states = await statuses(db, ids)
            return states, {
                (run_id, after): await lines_after(db, run_id, after, MOST_LINES)
                for run_id, after in places
            }

        states, lines = await self._read(query)
        behind = False
        for watcher in watchers:
            place = watcher.place
            new_lines = None if place is None else lines.get(place)
            watcher.hear(states.get(watcher.run_id), new_lines)
            behind = behind or len(new_lines or ()) == MOST_LINES
        return 0.0 if behind else _ROUND_SECONDS


# Change feed for all runs: a shared poll loop runs while programs listen.

_CHANGES_ROUND_SECONDS = 1.0
OVERLAP = timedelta(seconds=10)
"""Overlap of polls: a change is dated before its commit. A change committed later than this after its date is not reported."""
_MOST_WAITING = 5_000


class Listener:
    """Listener for changes of runs.

    Args:
        after: Deliver changes from this instant on.
    """

    def __init__(self, after: datetime) -> None:
        self.behind = False
        """True if too many changes wait for this listener: the client has to reconnect."""
        self._after = after
        self._told: dict[str, datetime] = {}
        self._waiting: deque[Change] = deque()
        self._news = asyncio.Event()

    def hear(self, changes: Sequence[Change]) -> None:
        """Queue new changes, and set :attr:`behind` if more than 5,000 wait."""
        self.catch_up(changes)
        self.behind = self.behind or len(self._waiting) > _MOST_WAITING

    def catch_up(self, changes: Sequence[Change]) -> None:
        """Queue changes, also from before the listener connected; skip changes that were queued before."""
        for change in changes:
            if change.at >= self._after and change.key not in self._told:
                self._told[change.key] = change.at
                self._waiting.append(change)
        if self._waiting:
            self._news.set()

    def forget(self, before: datetime) -> None:
        """Drop the keys of changes from before an instant, since no later poll returns such changes."""
        self._told = {key: at for key, at in self._told.items() if at >= before}

    async def news(self, seconds: float) -> list[Change]:
        """Wait for changes, at most ``seconds``, and return the queued changes."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()
        changes = list(self._waiting)
        self._waiting.clear()
        return changes


class ChangeFeed:
    """Poll for changes of all runs. For one event loop.

    Args:
        read: Function that runs a query against the scheduler's database.
        clock: Clock that dates changes.
    """

    def __init__(self, read: Read, clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._since: datetime | None = None
        self._rounds = PollLoop[Listener]("looking for changes of runs", self._round)

    async def missed(self, since: datetime) -> Changes:
        """Return the changes since an instant, for a reader that reconnects."""
        changes: Changes = await self._read(lambda db: changes_since(db, since))
        return changes

    def listen(self, after: datetime) -> AbstractContextManager[Listener]:
        """Listen for changes while the context lasts."""
        if not self._rounds.listeners:
            self._since = None
        return self._rounds.join(Listener(after))

    async def _round(self) -> float:
        """Poll once and return the seconds until the next poll."""
        now = self._clock.now()
        since = self._since or now - OVERLAP
        changes: Changes = await self._read(lambda db: changes_since(db, since))
        for listener in self._rounds.listeners:
            listener.forget(since)
            listener.hear(changes.found)
        if changes.until is not None and changes.until > since:
            self._since = changes.until
            return 0.0
        self._since = now - OVERLAP
        return _CHANGES_ROUND_SECONDS
