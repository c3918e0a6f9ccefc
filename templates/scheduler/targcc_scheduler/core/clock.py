"""The clock, which tests can replace."""

from __future__ import annotations

import asyncio
import math
import time
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Protocol

_LONGEST_WAIT = 1.0
"""Seconds after which a wait for an instant looks at the clock again, since the clock may be set meanwhile."""
_TOGETHER = 0.2
CLOCK_OFF_MS = 5000
"""A machine's clock that differs by more from the database's is wrong, and said to be."""
_TOLERANCE = 0.05
"""Seconds by which a node's idea of the database's clock may be wrong, apart from the doubt of each answer."""

deadline: ContextVar[float | None] = ContextVar("targcc_deadline", default=None)
"""The end of the time of the job that runs here, by ``time.monotonic``; ``None``: it has all the time."""


def uptime() -> float:
    """Seconds that only grow, whoever sets the clock; those in which the machine slept count where it can tell."""
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Clock(Protocol):
    """Tells the time and waits for an instant."""

    def now(self) -> datetime:
        """The instant it is, aware and in UTC."""

    async def wait(self, until: datetime | None, wake: asyncio.Event) -> None:
        """Return at ``until``, when ``wake`` is set, or earlier without either; ``wake`` is cleared."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The instant it is, aware and in UTC."""
        return datetime.now(UTC)

    async def wait(self, until: datetime | None, wake: asyncio.Event) -> None:
        """Return at ``until``, or when ``wake`` is set, or after a second; ``wake`` is cleared."""
        left = _LONGEST_WAIT if until is None else (until - self.now()).total_seconds()
        if left > 0 and not wake.is_set():
            await wait_for(wake, left if left < _LONGEST_WAIT else together(_LONGEST_WAIT))
        wake.clear()


class DatabaseClock(SystemClock):
    """The database's clock, as far as it can be told from here: what the database said last, and the monotonic time since.

    So a wrong clock of this machine, or one that is set while a node works, changes nothing. Until :meth:`follow` has been called, and
    where the database has no clock of its own, it shows this machine's.

    Args:
        own: This machine's clock.
    """

    def __init__(self, own: Clock | None = None) -> None:
        self.own = own or SystemClock()
        self._anchor: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """The instant it is by the database's clock, aware and in UTC."""
        if self._anchor is None:
            return self.own.now()
        at, since = self._anchor
        return at + timedelta(seconds=uptime() - since)

    @property
    def offset(self) -> timedelta:
        """This machine's clock less the database's."""
        return self.own.now() - self.now()

    def follow(self, said: datetime, asked: float, answered: float) -> None:
        """The database's clock said something between two instants of :func:`uptime`: half way, most likely.

        What lies within the doubt is left as it is, so that time does not jump to and fro.
        """
        half = (answered - asked) / 2
        if self._anchor is not None:
            at, since = self._anchor
            error = said - (at + timedelta(seconds=asked + half - since))
            if abs(error.total_seconds()) <= half + _TOLERANCE:
                return
        self._anchor = said.astimezone(UTC), asked + half


class ManualClock:
    """A clock that stands still until it is told to move; for tests.

    Args:
        start: The instant it shows first.
    """

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._moved: list[asyncio.Event] = []

    def now(self) -> datetime:
        """The instant it shows."""
        return self._now

    def set(self, instant: datetime) -> None:
        """Show another instant, earlier or later. Call it from the loop that waits."""
        self._now = instant.astimezone(UTC)
        for event in self._moved:
            event.set()

    def advance(self, by: timedelta) -> None:
        """Move forward."""
        self.set(self._now + by)

    async def wait(self, until: datetime | None, wake: asyncio.Event) -> None:
        """Return when the clock is at ``until`` or ``wake`` is set; both may come by :meth:`set`."""
        self._moved.append(wake)
        try:
            if until is None or until > self._now:
                await wake.wait()
        finally:
            self._moved.remove(wake)
        wake.clear()


def together(seconds: float) -> float:
    """So many seconds, or up to a fifth of a second less: what waits so long ends together, and wakes an idle process once for all."""
    if seconds < _TOGETHER:
        return seconds
    now = asyncio.get_running_loop().time()
    return math.floor((now + seconds) / _TOGETHER) * _TOGETHER - now


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Return when an event is set, or after so many seconds, which set it."""
    # asyncio.wait_for costs a task each time; a bare timer does the same for this one event.
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
