"""One piece of work on a database, in a thread, that other threads can stop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import sqlalchemy as sa

from .drivers import StatementStop, time_limit

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two tries to cancel: the first may come before the statement."""
_PATIENCE = 5.0
"""Seconds after which a session that hears no cancel is killed."""
_SLACK = 0.25
"""Seconds after the end of the job's time: who ends the run for its timeout comes first."""


class Transaction(Generic[T]):
    """A transaction with its work.

    Args:
        engine: Where.
        work: What to do in it.
        deadline: The end of the job's time, by ``time.monotonic``; ``None``: it has all the time.
    """

    def __init__(
        self, engine: sa.Engine, work: Callable[[sa.Connection], T], deadline: float | None
    ) -> None:
        self._engine = engine
        self._work = work
        self._deadline = deadline
        self._lock = threading.Lock()
        self._running: StatementStop | None = None
        self._stopped: BaseException | None = None
        self._ended = threading.Event()

    @property
    def seconds_left(self) -> float | None:
        """Until its time is over, with some slack; ``None``: for ever."""
        return None if self._deadline is None else self._deadline - time.monotonic() + _SLACK

    def __call__(self) -> T:
        """Do the work, in the caller's thread."""
        try:
            with self._engine.begin() as connection:
                value = self._on(connection)
                self._raise_if_stopped()  # rolls back
                return value
        except Exception as error:
            if self._stopped is None or error is self._stopped:
                raise
            raise self._stopped from error
        finally:
            self._ended.set()

    def _on(self, connection: sa.Connection) -> T:
        with self._lock:
            self._running = StatementStop(connection)
        try:
            self._raise_if_stopped()  # while it waited for a connection
            with time_limit(connection, self.seconds_left):
                return self._work(connection)
        finally:
            with self._lock:  # from here on another piece of work may have the connection
                self._running = None

    def abandon(self) -> None:
        """Stop the statement that runs now, and roll back; nobody waits for it any more."""
        self._stop(asyncio.CancelledError())

    def expire(self) -> None:
        """Stop the statement that runs now, and roll back: the job's time is over."""
        self._stop(TimeoutError("the job's time is over: the statement was stopped"))

    def _stop(self, error: BaseException) -> None:
        if self._stopped is None and not self._ended.is_set():
            self._stopped = error
            threading.Thread(target=self._interrupt, name="database stop", daemon=True).start()

    def _interrupt(self) -> None:
        """Cancel until it is heard: a statement may begin just after a cancel, and a server may be deaf."""
        since, pause, killed = time.monotonic(), _FIRST_PAUSE, False
        while not self._ended.is_set():
            late = time.monotonic() - since > _PATIENCE and not killed
            with self._lock:
                if self._running is not None:
                    self._running.cancel()
                    if late:
                        self._running.kill()
                        killed = True
            self._ended.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _raise_if_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped
