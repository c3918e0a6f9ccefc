"""Retry a loop while the database is unavailable: exponential back-off, one log line at the start and one at the end."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .masking.known import mask

OUTAGES = (DBAPIError, PoolTimeoutError, OSError)
"""What is raised while the database is unavailable, full or locked."""

_FIRST, _LONGEST = 0.2, 5.0


class Outage:
    """Counts failures of one loop.

    Args:
        log: Where to say it.
        what: What cannot be done, such as ``claiming runs``.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._since: float | None = None
        self._wait = _FIRST

    def failed(self, error: BaseException) -> timedelta:
        """Count a failed try; returns how long to wait before the next."""
        if self._since is None:
            self._since, self._wait = time.monotonic(), _FIRST
            self._log.error("%s fails and will be tried again: %s", self._what, in_short(error))
        wait, self._wait = self._wait, min(self._wait * 2, _LONGEST)
        return timedelta(seconds=wait)

    def over(self) -> None:
        """Count a try that worked."""
        if self._since is not None:
            gone = time.monotonic() - self._since
            self._log.warning("%s works again after %.1f s", self._what, gone)
            self._since = None


def in_short(error: BaseException) -> str:
    """A database error in one line, without statement, parameters, URL or secrets."""
    cause = getattr(error, "orig", None) or error
    return " ".join(mask(f"{type(cause).__name__}: {cause}").split())[:300]
