"""Retry a loop while the database is unavailable: exponential back-off, a log line at the start and another at the end."""

from __future__ import annotations

import logging
import random
import time
from datetime import timedelta

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .masking import mask

OUTAGES = (DBAPIError, PoolTimeoutError, OSError)
"""The exceptions of a database that is unavailable, full or locked."""

_FIRST, _LONGEST = 0.2, 5.0
_UNDONE = frozenset({"40001", "40P01"})
"""PostgreSQL's ``serialization_failure`` and ``deadlock_detected``."""
NO_APPLOCK = 51205
"""The number that the scheduler's own statement raises on SQL Server where an application lock was not given, as to the victim of a deadlock."""
_UNDONE_NUMBERS = frozenset({1205, 3960, 2601, 2627, NO_APPLOCK})
"""SQL Server's deadlock, snapshot conflict, and duplicate keys: a row that another transaction has inserted first; and :data:`NO_APPLOCK`."""
_HELD_UP = "55P03"
"""PostgreSQL's ``lock_not_available``."""
_HELD_UP_NUMBER = 1222
"""SQL Server's error of a lock that was not given in time."""
MOST_UNDONE = 5
"""The number of consecutive tries that the database may roll back for a conflict before the failure counts as an error."""
_AGAIN_SECONDS = 0.02, 0.06
"""The bounds of the pause before a rolled back transaction is retried. Without a pause the two transactions would conflict again."""


def is_undone(error: BaseException) -> bool:
    """Return whether the database rolled back a transaction because of a conflict with another transaction.

    Nothing of the transaction is stored, and a retry is safe.
    """
    # In this order: errors of psycopg, SQLAlchemy and Procrastinate.
    causes = (error, getattr(error, "orig", None), error.__cause__)
    return any(
        getattr(cause, "sqlstate", None) in _UNDONE
        or getattr(cause, "number", None) in _UNDONE_NUMBERS
        for cause in causes
    )


def is_held_up(error: DBAPIError) -> bool:
    """Return whether a statement gave up waiting for a lock: see ``wait_briefly`` of :class:`~..db.dialects.base.Dialect`."""
    return (
        getattr(error.orig, "sqlstate", None) == _HELD_UP
        or getattr(error.orig, "number", None) == _HELD_UP_NUMBER
    )


def retry_delay() -> float:
    """Return the seconds to wait before a rolled back transaction is retried."""
    return random.uniform(*_AGAIN_SECONDS)  # noqa: S311 - no secret


class Outage:
    """The failures of a loop.

    Args:
        log: The logger for the reports.
        what: The activity that fails, such as ``claiming runs``.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._since: float | None = None
        self._wait = _FIRST
        self._undone = 0

    def failed(self, error: BaseException) -> timedelta:
        """Count a failed try and return the time to wait before the next. A transaction rolled back for a conflict is no outage."""
        if self._since is None and is_undone(error) and self._undone < MOST_UNDONE:
            self._undone += 1
            self._log.info(
                "%s is done again, as the database undid it: %s", self._what, in_short(error)
            )
            return timedelta(seconds=retry_delay())
        if self._since is None:
            self._since, self._wait = time.monotonic(), _FIRST
            self._log.error("%s fails and will be tried again: %s", self._what, in_short(error))
        wait, self._wait = self._wait, min(self._wait * 2, _LONGEST)
        return timedelta(seconds=wait)

    def over(self) -> None:
        """Count a successful try."""
        self._undone = 0
        if self._since is not None:
            gone = time.monotonic() - self._since
            self._log.warning("%s works again after %.1f s", self._what, gone)
            self._since = None


def in_short(error: BaseException) -> str:
    """Format a database error in one line, without statement, parameters, URL or secrets."""
    cause = getattr(error, "orig", None) or error
    return " ".join(mask(f"{type(cause).__name__}: {cause}").split())[:300]
