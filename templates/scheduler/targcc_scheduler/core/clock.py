"""The clock, which tests can replace."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

_LONGEST_WAIT = 1.0
"""Seconds after which a wait for an instant looks at the clock again, since the clock may be set meanwhile."""


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
            await _wait(wake, min(left, _LONGEST_WAIT))
        wake.clear()


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


async def _wait(event: asyncio.Event, seconds: float) -> None:
    # asyncio.wait_for costs a task each time; a bare timer does the same for this one event.
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
