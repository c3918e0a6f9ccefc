"""Database work in a thread, with a way to stop a running statement on each driver."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import NullPool

from ..core.masking import mask
from ..core.outage import in_short

# Stop a statement: by a time limit set in advance, by a cancel from another thread, or by ending the session.

T = TypeVar("T")

log = logging.getLogger("targcc.services.transaction")

_CURSOR = "targcc.cursor"
_SESSION = "targcc.session"
_ANSWER_SECONDS = 5
"""Timeout in seconds for the second connection that cancels or kills."""
_MAY_KILL = "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'ALTER ANY CONNECTION')"


def watch(engine: sa.Engine) -> None:
    """Record the current cursor of each connection, and on SQL Server the session id, so that a statement can be stopped."""
    event.listen(engine, "before_cursor_execute", _note_execute)
    if engine.dialect.name == "mssql":
        event.listen(engine, "connect", partial(_know_isolation_level, engine))
        event.listen(engine, "connect", _note_session)
        event.listen(engine, "checkin", _end_transaction)


def note_cursor(connection: sa.Connection, cursor: Any) -> None:
    """Record ``cursor`` as the cursor of the connection's next statement."""
    connection.info[_CURSOR] = cursor


@contextmanager
def time_limit(connection: sa.Connection, seconds: float | None) -> Iterator[None]:
    """On SQL Server, set the driver's own timeout for statements; the timeout works even when other threads of this process hang.

    Cursors copy the timeout, so it is set before a cursor is created, and reset before the connection returns to the pool. The driver
    counts whole seconds; one second is added, so that :meth:`Transaction.expire` comes first.
    """
    driver = connection.connection.driver_connection
    if seconds is None or driver is None or connection.dialect.name != "mssql":
        yield
        return
    driver.timeout = math.ceil(max(seconds, 0)) + 1
    try:
        yield
    finally:
        driver.timeout = 0


class StatementStop:
    """Stop the running statement of a connection from another thread.

    Args:
        connection: The connection; must not return to its pool while this object is in use.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._url = connection.engine.url
        self._dialect = connection.dialect.name
        self._driver: Any = connection.connection.driver_connection
        self._info = connection.info
        self._info.pop(_CURSOR, None)
        self._attention: threading.Thread | None = None

    def cancel(self) -> None:
        """Cancel the running statement on the server, if any; log a cancel that fails."""
        if self._dialect == "postgresql":
            self._said(lambda: self._driver.cancel_safe(timeout=_ANSWER_SECONDS))
        elif self._dialect == "sqlite":
            self._said(self._driver.interrupt)
        elif self._dialect == "mssql" and (
            self._attention is None or not self._attention.is_alive()
        ):
            # SQLCancel blocks until the server answers: call SQLCancel in a thread, so that an unresponsive session can be killed.
            self._attention = threading.Thread(
                target=self._send_attention, name="database cancel", daemon=True
            )
            self._attention.start()

    def _send_attention(self) -> None:
        if self._said(lambda: cancel_on_sql_server(self._info.get(_CURSOR))) is False:
            log.warning(
                "this mssql-python cancels no statement from another thread: it ends by its time limit"
            )

    def _said(self, cancel: Callable[[], T]) -> T | None:
        try:
            return cancel()
        except Exception as error:  # noqa: BLE001 - a driver may raise anything
            log.warning("a statement cannot be cancelled: %s", mask(in_short(error)))
            return None

    def kill(self) -> None:
        """Kill the session on SQL Server; log when the login may not. Do nothing on other databases."""
        session = self._info.get(_SESSION)
        if session is None:
            return
        try:
            killed = _kill(self._url, session)
        except Exception as error:  # noqa: BLE001 - a driver may raise anything
            log.warning("session %d cannot be ended: %s", session, mask(in_short(error)))
            return
        if killed:
            log.warning("session %d did not stop its statement and was ended by KILL", session)
        else:
            log.warning(
                "session %d does not stop its statement, and this log-in may not end it: KILL needs ALTER ANY CONNECTION",
                session,
            )


def cancel_on_sql_server(cursor: Any) -> bool:
    """Cancel the cursor's statement on SQL Server, from any thread; do nothing when the cursor has no statement.

    ``_cancel`` of the statement's handle is ``SQLCancel``. mssql-python has no public name for ``SQLCancel``; only this function uses
    ``_cancel``.

    Returns:
        False when the driver has no ``_cancel``.
    """
    handle = getattr(cursor, "hstmt", None)
    if handle is None:
        return True
    cancel = getattr(handle, "_cancel", None)
    if cancel is None:
        return False
    cancel()
    return True


def _note_execute(
    connection: sa.Connection,
    cursor: Any,
    _sql: str,
    _values: Any,
    _context: Any,
    _many: bool,  # noqa: FBT001 - SQLAlchemy's
) -> None:
    note_cursor(connection, cursor)


def _know_isolation_level(engine: sa.Engine, _driver: Any, _record: Any) -> None:
    """Set the level that SQLAlchemy restores after autocommit, where the server does not tell the level of a new session."""
    if engine.dialect.default_isolation_level is None:
        engine.dialect.default_isolation_level = "READ COMMITTED"


def _note_session(driver: Any, record: Any) -> None:
    with closing(driver.cursor()) as cursor:
        cursor.execute("SELECT @@SPID")
        record.info[_SESSION] = int(cursor.fetchone()[0])
    driver.rollback()


def _end_transaction(driver: Any, _record: Any) -> None:
    """End the transaction in which SQLAlchemy restored the isolation level after autocommit: an idle session has none open."""
    with suppress(Exception):  # the next use of a broken connection reports the error
        if driver is not None:
            driver.rollback()


def _kill(url: sa.URL, session: int) -> bool:
    engine = sa.create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        connect_args={"timeout": _ANSWER_SECONDS},
    )
    with engine.connect() as connection, time_limit(connection, _ANSWER_SECONDS):
        if not connection.exec_driver_sql(_MAY_KILL).scalar():
            return False
        connection.exec_driver_sql(f"KILL {session}")
        return True


# A transaction in a thread that other threads can stop.

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""First and longest pause between two cancels, in seconds; the first cancel may come before the statement starts."""
_PATIENCE = 5.0
"""Seconds after which a session that ignores cancels is killed."""
_SLACK = 0.25
"""Seconds added to the job's deadline, so that the worker's own timeout ends the run first."""


class Transaction(Generic[T]):
    """Run a function in one transaction, with a deadline.

    Args:
        engine: The engine of the database.
        work: The function to call with the connection.
        deadline: The job's deadline on ``time.monotonic``; ``None`` means no deadline.
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
        """Seconds until the deadline plus the slack; ``None`` without a deadline."""
        return None if self._deadline is None else self._deadline - time.monotonic() + _SLACK

    def __call__(self) -> T:
        """Run the work and commit, in the caller's thread; return the result of the work."""
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
            self._raise_if_stopped()  # stopped while waiting for a connection
            with time_limit(connection, self.seconds_left):
                return self._work(connection)
        finally:
            with self._lock:  # from here on another transaction may use the connection
                self._running = None

    def abandon(self) -> None:
        """Stop the running statement and roll back, because the job was cancelled."""
        self._stop(asyncio.CancelledError())

    def expire(self) -> None:
        """Stop the running statement and roll back, because the job's time is over."""
        self._stop(TimeoutError("the job's time is over: the statement was stopped"))

    def _stop(self, error: BaseException) -> None:
        if self._stopped is None and not self._ended.is_set():
            self._stopped = error
            threading.Thread(target=self._interrupt, name="database stop", daemon=True).start()

    def _interrupt(self) -> None:
        """Repeat the cancel until the transaction ends: a statement may start after a cancel, and a server may ignore a cancel."""
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
