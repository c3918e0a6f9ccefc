"""Clocks: the machine's, the database's, and a manual clock for tests."""

from __future__ import annotations

import asyncio
import math
import time
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Protocol

_LONGEST_WAIT = 1.0
"""The longest wait in seconds. A longer wait reads the clock again after this time, because the clock may be set meanwhile."""
_TOGETHER = 0.2
_HELD = timedelta(seconds=1)
"""The longest step back in which the estimate of the database's clock stands still instead."""
_EVER = datetime.min.replace(tzinfo=UTC)
_TOLERANCE = 0.05
"""The error in seconds that the estimate of the database's clock may have, on top of half the round trip of a reading."""

deadline: ContextVar[float | None] = ContextVar("targcc_deadline", default=None)
"""The deadline of the current job, by ``time.monotonic``; ``None``: no time limit."""


def uptime() -> float:
    """Return monotonic seconds, unaffected by clock changes. Time asleep counts where the system has ``CLOCK_BOOTTIME``."""
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Clock(Protocol):
    """Return the current time and wait for an instant."""

    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""

    async def wait(self, until: datetime | None, wake: asyncio.Event) -> None:
        """Wait for ``until`` or ``wake``, then clear ``wake``. May return earlier than both."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""
        return datetime.now(UTC)

    async def wait(self, until: datetime | None, wake: asyncio.Event) -> None:
        """Wait for ``until`` or ``wake`` for at most a second, then clear ``wake``."""
        left = _LONGEST_WAIT if until is None else (until - self.now()).total_seconds()
        if left > 0 and not wake.is_set():
            await wait_for(wake, left if left < _LONGEST_WAIT else together(_LONGEST_WAIT))
        wake.clear()


class DatabaseClock(SystemClock):
    """An estimate of the database's clock: the last reading plus the monotonic time since.

    A wrong clock of this machine, or a clock change while a node works, therefore has no effect. Before the first :meth:`follow`,
    and with a database that has no clock of its own, :meth:`now` returns this machine's time.

    Args:
        own: This machine's clock.
    """

    def __init__(self, own: Clock | None = None) -> None:
        self.own = own or SystemClock()
        self._anchor: tuple[datetime, float] | None = None
        self._not_before = _EVER

    def now(self) -> datetime:
        """Return the current instant by the database's clock, aware and in UTC."""
        if self._anchor is None:
            return self.own.now()
        at, since = self._anchor
        return max(at + timedelta(seconds=uptime() - since), self._not_before)

    @property
    def offset(self) -> timedelta:
        """Return this machine's clock minus the database's."""
        return self.own.now() - self.now()

    def follow(self, server_time: datetime, sent_at: float, answered: float) -> None:
        """Take a reading of the database's clock, made between two instants of :func:`uptime`.

        The reading counts for the middle of the round trip. A deviation within half the round trip plus the tolerance changes nothing,
        so that the time does not jump to and fro. The correction of an earlier doubtful reading does not turn the time back: the time stands
        still for up to a second. A longer step back is one of the database's clock.

        Args:
            server_time: The database's time.
            sent_at: The uptime when the query was sent.
            answered: The uptime when the answer came.
        """
        half = (answered - sent_at) / 2
        anchor = server_time.astimezone(UTC), sent_at + half
        if self._anchor is not None:
            at, since = self._anchor
            error = server_time - (at + timedelta(seconds=sent_at + half - since))
            if abs(error.total_seconds()) <= half + _TOLERANCE:
                return
            now = self.now()
            step_back = now - (anchor[0] + timedelta(seconds=uptime() - anchor[1]))
            self._not_before = now if step_back <= _HELD else _EVER
        self._anchor = anchor


class ManualClock:
    """A clock for tests that moves only when told to.

    Args:
        start: The initial instant.
    """

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._moved: list[asyncio.Event] = []

    def now(self) -> datetime:
        """Return the instant that was set last."""
        return self._now

    def set(self, instant: datetime) -> None:
        """Set the clock to an earlier or a later instant. Call this method from the loop that waits."""
        self._now = instant.astimezone(UTC)
        for event in self._moved:
            event.set()

    def advance(self, by: timedelta) -> None:
        """Move the clock forward."""
        self.set(self._now + by)

    async def wait(self, until: datetime | None, wake: asyncio.Event) -> None:
        """Wait until the clock reaches ``until`` or ``wake`` is set, then clear ``wake``. :meth:`set` sets ``wake``, too."""
        self._moved.append(wake)
        try:
            if until is None or until > self._now:
                await wake.wait()
        finally:
            self._moved.remove(wake)
        wake.clear()


def together(seconds: float) -> float:
    """Return ``seconds`` shortened by up to 0.2 s, so that the wait ends on a common grid and an idle process wakes once for several waits."""
    if seconds < _TOGETHER:
        return seconds
    now = asyncio.get_running_loop().time()
    return math.floor((now + seconds) / _TOGETHER) * _TOGETHER - now


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event; a timer sets the event after ``seconds``."""
    # asyncio.wait_for creates a task for each call; a bare timer is enough for one event.
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
