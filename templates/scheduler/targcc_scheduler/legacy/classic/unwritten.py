"""Runs that have ended here and of which the old tables may not know: the old database was away, or this process ended before it wrote.

What is missing is found by comparison: our ``c_LoggedJob`` has each attempt, and the old one has the token of each that was written.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from ...core.clock import Clock

LOOK_BACK = timedelta(days=7)
"""How far a process looks back at its start, for runs that one before it has not written."""
_MARGIN = timedelta(minutes=5)
"""A job begins its work a little after its attempt has begun."""


class Unwritten:
    """The runs that this process knows or suspects to be missing there.

    Args:
        clock: Tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_back = False
        self._missing: dict[str, datetime] = {}

    @property
    def since(self) -> datetime | None:
        """From when on our history is to be compared; ``None``: nothing is missing."""
        now = self._clock.now()
        if not self._looked_back:
            return now - LOOK_BACK
        recent = [at for at in self._missing.values() if at > now - LOOK_BACK]
        return min(recent) - _MARGIN if recent else None

    def add(self, token: str, started: datetime) -> None:
        """A run that could not be written."""
        self._missing[token] = started

    def compared(self, written: Collection[str]) -> None:
        """Our history has been compared, and these are there now; a run that is not in our history yet stays."""
        self._looked_back = True
        for token in written:
            self._missing.pop(token, None)
