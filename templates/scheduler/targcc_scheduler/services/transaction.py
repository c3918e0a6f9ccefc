"""Database work in a thread that can be stopped, by what each driver offers."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import NullPool

from ..core.masking import mask
from ..core.outage import in_short

# What drivers offer for stopping a statement: a limit that is set beforehand, a cancel from another thread, the end of a session.

T = TypeVar("T")

log = logging.getLogger("targcc.services.drivers")

_CURSOR = "targcc.cursor"
_SESSION = "targcc.session"
_ANSWER_SECONDS = 5
"""How long a second connection, which cancels or kills, may take."""
_MAY_KILL = "SELECT HAS_PERMS_BY_NAME(NULL, NULL, 'ALTER ANY CONNECTION')"


def watch(engine: sa.Engine) -> None:
    """Note which cursor each connection uses, and on SQL Server its session, so that they can be stopped."""
    event.listen(engine, "before_cursor_execute", _note_execute)
    if engine.dialect.name == "mssql":
        event.listen(engine, "connect", _note_session)


def note_cursor(connection: sa.Connection, cursor: Any) -> None:
    """The connection's next statement is one of this cursor."""
    connection.info[_CURSOR] = cursor


@contextmanager
def time_limit(connection: sa.Connection, seconds: float | None) -> Iterator[None]:
    """On SQL Server, have the driver itself stop each statement after some seconds, whatever becomes of this process's other threads.

    It is set before cursors are made, which take it along, and taken back before the pool gets the connection. It counts whole seconds:
    one more is given, so that a stop by the clock comes first.
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
    """Stops what a connection works on; for other threads.

    Args:
        connection: It must not go back to its pool while this is used.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._url = connection.engine.url
        self._dialect = connection.dialect.name
        self._driver: Any = connection.connection.driver_connection
        self._info = connection.info
        self._info.pop(_CURSOR, None)
        self._attention: threading.Thread | None = None

    def cancel(self) -> None:
        """Cancel the statement on the server; nothing if there is none. A cancel that fails is said in the log."""
        if self._dialect == "postgresql":
            self._said(lambda: self._driver.cancel_safe(timeout=_ANSWER_SECONDS))
        elif self._dialect == "sqlite":
            self._said(self._driver.interrupt)
        elif self._dialect == "mssql" and (
            self._attention is None or not self._attention.is_alive()
        ):
            # SQLCancel returns when the server has answered it: a deaf server must not keep it from being killed.
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
        """End the session on SQL Server, where the log-in may do so; said in the log where not. Nothing on other databases."""
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
    """Send SQL Server the attention that stops a cursor's statement, from any thread; nothing if it has none.

    ``_cancel`` of the statement's handle is ``SQLCancel``. mssql-python has no public name for it, so this function alone uses it.

    Returns:
        Whether the driver has it.
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


def _note_session(driver: Any, record: Any) -> None:
    with closing(driver.cursor()) as cursor:
        cursor.execute("SELECT @@SPID")
        record.info[_SESSION] = int(cursor.fetchone()[0])
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


# One piece of work on a database, in a thread, that other threads can stop.

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
