"""Connect to SQL Server from the event loop: the sync driver ``mssql-python`` in a small pool of threads, behind SQLAlchemy's async interface."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.connectors.asyncio import (
    AsyncAdapt_dbapi_connection,
    AsyncAdapt_dbapi_cursor,
    AsyncAdapt_dbapi_module,
)
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.mssql.mssqlpython import MSDialect_mssqlpython
from sqlalchemy.util.concurrency import await_

from .tsql import MOST_PARAMETERS

T = TypeVar("T")

DRIVER = "mssql+targcc"
"""The drivername of URLs for async engines with this driver."""


_NULL = "CAST(NULL AS nvarchar(4000))"
_LARGEST = 2**63
_NAME = re.compile(r"%\(([^)]+)\)s")
_SETS_PATIENCE = "SET LOCK_TIMEOUT"
_BEGIN = "IF @@TRANCOUNT = 0 BEGIN TRANSACTION"


_STOP_SECONDS = 0.25
"""Interval between attentions, the protocol's message that stops a statement, while a cancelled call goes on."""
_LEAVE_SECONDS = 10.0
"""How long the end of a cancelled call is awaited; a server that is gone, and Babelfish at times, does not answer an attention."""


class CallLeft(asyncio.CancelledError):
    """A cancelled call has not ended in time and is left to its thread."""


class Threads:
    """The threads of an engine: one for each connection, so that no call waits for a thread.

    Args:
        most: The number of threads.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pool: ThreadPoolExecutor | None = None
        self._stops: ThreadPoolExecutor | None = None
        """The threads that send attentions: the driver may block there until the call has ended, and other threads may all have calls."""

    async def run(self, work: Callable[..., T], *arguments: Any, stop: Any = None) -> T:
        """Run a call of the driver in a thread.

        When the caller is cancelled, send attentions by ``stop`` until the call has ended: a connection serves a single call at a time.

        Raises:
            CallLeft: The caller was cancelled, and the call goes on.
        """
        loop = asyncio.get_running_loop()
        if self._pool is None or self._stops is None:
            self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="targcc-mssql")
            self._stops = ThreadPoolExecutor(self._most, thread_name_prefix="targcc-mssql-stop")
        stops = self._stops
        call = loop.run_in_executor(self._pool, functools.partial(work, *arguments))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            call.add_done_callback(_heard)
            deadline = loop.time() + _LEAVE_SECONDS
            attention: asyncio.Future[Any] | None = None
            while not call.done() and loop.time() < deadline:
                # an attention before the statement is under way is lost
                if stop is not None and (attention is None or attention.done()):
                    with contextlib.suppress(RuntimeError):  # the engine is closed meanwhile
                        attention = loop.run_in_executor(stops, stop)
                await _ended(call, min(_STOP_SECONDS, deadline - loop.time()))
            if attention is not None:
                await _ended(attention, deadline - loop.time())
            if call.done() and (attention is None or attention.done()):
                raise
            self.close()  # other calls get other threads
            raise CallLeft from None

    def close(self) -> None:
        """End the threads once their calls have ended."""
        pools = self._pool, self._stops
        self._pool = self._stops = None
        for pool in pools:
            if pool is not None:
                pool.shutdown(wait=False)


def _heard(call: asyncio.Future[Any]) -> None:
    """Take the error of a call that nobody awaits."""
    if not call.cancelled():
        call.exception()


async def _ended(call: asyncio.Future[Any], seconds: float) -> None:
    """Wait for a call's end, whatever the outcome and however often the caller is cancelled; at most for some seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not call.done() and loop.time() < deadline:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({call}, timeout=deadline - loop.time())


class ThreadedCursor:
    """A cursor that executes a statement and fetches its rows in one call of a thread."""

    def __init__(self, connection: ThreadedConnection) -> None:
        self._connection = connection
        self._cursor: Any = None
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: Any = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def execute(self, operation: str, parameters: Any = None) -> Self:
        """Execute a statement and fetch all its rows."""
        await self._run(self._execute, operation, parameters)
        return self

    async def executemany(self, operation: str, parameters: Sequence[Any]) -> Self:
        """Execute a statement for each set of parameters."""
        await self._run(self._executemany, operation, parameters)
        return self

    async def fetchall(self) -> list[Any]:
        """Return the rows of the statement."""
        rows, self._rows = self._rows, []
        return rows

    async def fetchone(self) -> Any:
        """Return the next row; ``None`` after the last."""
        return self._rows.pop(0) if self._rows else None

    async def nextset(self) -> bool:
        """Return false: :meth:`execute` has read every result of the batch."""
        return False

    async def setinputsizes(self, *sizes: Any) -> None:
        """Do nothing: the driver derives the types."""

    async def close(self) -> None:
        """Close the cursor."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            await self._connection.run(cursor.close)

    async def _run(self, work: Callable[..., None], *arguments: Any) -> None:
        await self._connection.run(work, *arguments, stop=self._stop)

    def _stop(self) -> None:
        """Send the attention of the protocol; the statement may have ended meanwhile."""
        handle = getattr(self._cursor, "hstmt", None)
        cancel = getattr(handle, "_cancel", None)  # the driver's SQLCancel has no public name
        if cancel is not None:
            with contextlib.suppress(Exception):
                cancel()

    def _open(self) -> Any:
        if self._cursor is None:
            self._cursor = self._connection.open_cursor()
        return self._cursor

    def _execute(self, operation: str, parameters: Any) -> None:
        cursor = self._open()
        with self._connection.numbered():
            if parameters:
                cursor.execute(*_typed(operation, parameters))
            else:
                cursor.execute(operation)
                if operation.startswith(_SETS_PATIENCE):
                    self._connection.is_impatient = operation != self._connection.patience
            self._read(cursor)

    def _executemany(self, operation: str, parameters: Sequence[Any]) -> None:
        cursor = self._open()
        changed = 0
        # the driver's own executemany guesses the types from the first rows
        with self._connection.numbered():
            for values in parameters:
                cursor.execute(*_typed(operation, values))
                changed += max(cursor.rowcount, 0)
        self.description, self._rows, self.rowcount = None, [], changed

    def _read(self, cursor: Any) -> None:
        """Read the rows of the last result with rows, and the last row count, of a batch of statements."""
        self.description, self._rows, self.rowcount = None, [], cursor.rowcount
        while True:
            if cursor.description:
                self.description = cursor.description
                self._rows = [tuple(row) for row in cursor.fetchall()]
            elif cursor.rowcount >= 0:
                self.rowcount = cursor.rowcount
            if not cursor.nextset():
                return


def _typed(operation: str, parameters: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Write each ``None`` into the statement, and as many numbers and texts as exceed the server's limit of parameters.

    ``None`` becomes a NULL of a type that the server converts to any other. For a parameter ``None`` the driver asks the server for the
    type: a round trip, and on Babelfish an error in it ends the transaction.

    Raises:
        OverflowError: A number has more than 64 bits.
    """
    for value in parameters.values():
        if type(value) is int and not -_LARGEST <= value < _LARGEST:
            raise OverflowError(f"{value} has more than 64 bits")
    literals = {name: _NULL for name, value in parameters.items() if value is None}
    surplus = len(parameters) - len(literals) - MOST_PARAMETERS
    if surplus > 0:
        plain = [name for name, value in parameters.items() if type(value) in {int, str}]
        literals |= {name: _literal(parameters[name]) for name in plain[:surplus]}
    if not literals:
        return operation, parameters
    operation = _NAME.sub(lambda match: literals.get(match[1], match[0]), operation)
    return operation, {name: parameters[name] for name in parameters if name not in literals}


def _literal(value: int | str) -> str:
    """Return a literal of T-SQL, where a quote is the only special character, in the form of a statement with parameters."""
    if isinstance(value, int):
        return str(value)
    quoted = value.replace("'", "''").replace("%", "%%")
    return f"N'{quoted}'"


def roll_back(driver: Any) -> None:
    """Roll back the transaction of a connection, also if the server has ended the transaction.

    Babelfish does not tell the driver that it has ended a transaction, and the rollback fails. That error would replace the first error.
    """
    try:
        driver.rollback()
    except Exception:  # noqa: BLE001 - the class and the text do not say which error
        _execute(driver, _BEGIN)
        driver.rollback()


def _execute(driver: Any, statement: str) -> None:
    cursor = driver.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()


class ThreadedConnection:
    """A connection that makes one call of the driver at a time, in a thread of its engine. The driver crashes if a connection is closed during a call."""

    def __init__(self, driver: Any, threads: Threads) -> None:
        self.driver = driver
        self.threads = threads
        self._turn = threading.Lock()
        self._is_left = False
        self.autocommit = bool(driver.autocommit)
        """Whether each statement commits by itself. The next statement tells the driver, which may send a statement of its own."""
        self.patience = f"{_SETS_PATIENCE} -1"
        """The statement with the connection's own limit of lock waits."""
        self.is_impatient = False
        """Whether another limit is set, which would outlive the transaction."""

    async def run(self, work: Callable[..., T], *arguments: Any, stop: Any = None) -> T:
        """Run a call of the driver in a thread, once the connection's earlier calls have ended.

        Raises:
            OSError: An earlier call was left to its thread.
        """
        if self._is_left:
            raise OSError("a statement was not stopped in time")
        try:
            return await self.threads.run(self._in_turn, work, *arguments, stop=stop)
        except CallLeft:
            self._is_left = True
            raise

    def _in_turn(self, work: Callable[..., T], *arguments: Any) -> T:
        with self._turn:
            try:
                return work(*arguments)
            finally:
                if self._is_left:  # nobody else closes it
                    with contextlib.suppress(Exception):
                        self.driver.close()

    def cursor(self) -> ThreadedCursor:
        """Return a new cursor."""
        return ThreadedCursor(self)

    def open_cursor(self) -> Any:
        """Return a cursor of the driver, in a thread."""
        if self.driver.autocommit != self.autocommit:
            self.driver.setautocommit(self.autocommit)
        return self.driver.cursor()

    async def be_patient(self, milliseconds: int) -> None:
        """Limit the lock waits of the connection."""
        self.patience = f"{_SETS_PATIENCE} {milliseconds}"
        self.is_impatient = True
        await self.run(self._wait_on)

    async def commit(self) -> None:
        """Commit the transaction."""
        await self.run(self._commit)

    async def rollback(self) -> None:
        """Roll the transaction back."""
        await self.run(self._rollback)

    async def close(self) -> None:
        """Close the connection; one with a call that goes on is closed after the call."""
        if not self._is_left:
            await self.run(self.driver.close)

    @contextlib.contextmanager
    def numbered(self) -> Iterator[None]:
        """Add the server's number of an error to the driver's error, which has the text alone, in the language of the login."""
        try:
            yield
        except Exception as error:
            with contextlib.suppress(Exception):  # the connection is lost
                error.number = self._scalar("SELECT @@ERROR")  # type: ignore[attr-defined]
            raise

    def _scalar(self, query: str) -> Any:
        cursor = self.driver.cursor()
        try:
            cursor.execute(query)
            return cursor.fetchone()[0]
        finally:
            cursor.close()

    def _commit(self) -> None:
        self.driver.commit()
        self._wait_on()

    def _rollback(self) -> None:
        roll_back(self.driver)
        self._wait_on()

    def _wait_on(self) -> None:
        """Restore the connection's own limit of lock waits, after a transaction that has set another."""
        if self.is_impatient:
            _execute(self.driver, self.patience)
            self.is_impatient = False


class _Connection(AsyncAdapt_dbapi_connection):
    """SQLAlchemy's view of a connection."""

    _cursor_cls = AsyncAdapt_dbapi_cursor
    _connection: Any

    @property
    def autocommit(self) -> bool:
        return bool(self._connection.autocommit)

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._connection.autocommit = value


class _Module(AsyncAdapt_dbapi_module):
    """The driver's module with an async ``connect``."""

    def __init__(self, driver: Any) -> None:
        super().__init__(driver, dbapi_module=driver)
        self._driver = driver
        self.paramstyle = driver.paramstyle
        for name in (
            *("Warning", "Error", "InterfaceError", "DatabaseError", "DataError", "OperationalError"),
            *("IntegrityError", "InternalError", "ProgrammingError", "NotSupportedError", "Binary"),
        ):  # fmt: skip
            setattr(self, name, getattr(driver, name))
        self.__version__ = driver.__version__

    def pooling(self, **options: Any) -> None:
        """Set the driver's own pool of connections, which SQLAlchemy turns off."""
        self._driver.pooling(**options)

    def connect(
        self,
        *arguments: Any,
        threads: Threads,
        lock_milliseconds: int | None = None,
        **options: Any,
    ) -> Any:
        """Connect in a thread; limit the lock waits."""

        async def opened() -> Any:
            driver = await threads.run(
                functools.partial(self._driver.connect, *arguments, **options)
            )
            connection = ThreadedConnection(driver, threads)
            if lock_milliseconds is not None:
                await connection.be_patient(lock_milliseconds)
            return connection

        return await_(_Connection.create(self, opened()))


class AsyncMSDialect(MSDialect_mssqlpython):
    """SQLAlchemy's dialect of the driver, for async engines."""

    driver = "targcc"
    is_async = True
    supports_statement_cache = True
    use_insertmanyvalues = False
    tuple_in_values = True

    def get_default_isolation_level(self, dbapi_conn: Any) -> Literal["READ COMMITTED"]:
        """Return the level of new connections, without a look at the views of the system."""
        del dbapi_conn
        return "READ COMMITTED"

    def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:
        """Set whether each statement commits by itself; the store uses no other level.

        Awaits nothing: SQLAlchemy would leave the connection to the garbage collector if the caller was cancelled.
        """
        dbapi_connection.autocommit = level == "AUTOCOMMIT"

    def do_rollback_to_savepoint(self, connection: sa.Connection, name: str) -> None:
        """Undo the writes since the savepoint, unless the server has ended the transaction, as with a deadlock."""
        quoted = self.identifier_preparer.quote(name)
        connection.exec_driver_sql(f"IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION {quoted}")

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return the driver's module with an async ``connect``."""
        return _Module(super().import_dbapi())

    @classmethod
    def get_pool_class(cls, url: sa.URL) -> type[sa.Pool]:
        """Return the pool for async connections."""
        del url
        return sa.AsyncAdaptedQueuePool

    def get_driver_connection(self, connection: Any) -> Any:
        """Return the connection of the driver in threads."""
        return connection._connection  # noqa: SLF001 - SQLAlchemy's own name


registry.register(DRIVER.replace("+", "."), __name__, AsyncMSDialect.__name__)
