"""Statements that Psycopg executes directly, see ``frequent.py``; and a Psycopg connection that stays idle while no data comes."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast

import psycopg
import psycopg.conninfo
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from .base import DriverStatement

_PSYCOPG: sa.Dialect = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
_KEEP_PLAN = (
    "SELECT set_config('plan_cache_mode', 'force_generic_plan', true),"
    " set_config('enable_seqscan', 'off', true)"
)
"""Settings of a transaction: use the plan that does not depend on parameters, and let no outdated statistics choose a scan of a table."""
_CALLS_ELSEWHERE = 5
"""Number of the call of a loop that opens a connection."""
_WAIT_SECONDS = 10.0
"""Seconds between a waiting connection's checks for interrupts. Psycopg's default of 0.1 s is for Ctrl-C, which another thread handles."""


class PsycopgStatement(DriverStatement):
    """A statement for Psycopg, on the connection of a transaction or on an autocommit connection.

    Args:
        statement: The statement to compile.
    """

    def __init__(self, statement: Any) -> None:
        super().__init__(statement, _PSYCOPG)

    async def rows(self, connection: AsyncConnection, parameters: Mapping[str, Any]) -> list[Any]:
        """Execute the statement and return its rows as named tuples."""
        async with self._driver(connection) as driver:
            cursor = await self._execute(driver, parameters)
            return self.named(await cursor.fetchall())

    async def rows_planned_once(
        self, connection: AsyncConnection, parameters: Mapping[str, Any]
    ) -> list[Any]:
        """Execute the statement as :meth:`rows` does, by a plan that PostgreSQL makes once and keeps; on an autocommit connection.

        The settings of the plan go with the statement in one round trip and end with its transaction.
        """
        async with self._driver(connection) as driver:
            if driver.autocommit and psycopg.Pipeline.is_supported():
                async with driver.pipeline():
                    await driver.execute(_KEEP_PLAN)
                    cursor = await self._execute(driver, parameters)
            else:
                cursor = await self._execute(driver, parameters)
            return self.named(await cursor.fetchall())

    async def counts(
        self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]
    ) -> list[int]:
        """Execute the statement for each set of parameters and return the number of changed rows of each."""
        async with self._driver(connection) as driver:
            return [(await self._execute(driver, parameters)).rowcount for parameters in many]

    @contextlib.asynccontextmanager
    async def _driver(
        self, connection: AsyncConnection
    ) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Provide Psycopg's connection in a transaction, or in autocommit mode; raise SQLAlchemy's exceptions.

        The pool drops a connection that was closed meanwhile, as Psycopg closes one when the server does not answer to a cancellation.
        """
        plain = connection.sync_connection
        if plain is None or plain.invalidated:
            await connection.get_raw_connection()  # reconnects, or raises the reason
        driver = driver_of(connection)
        if not (driver.autocommit or connection.in_transaction()):
            await connection.begin()  # so that the owner of the connection can commit
        try:
            yield driver
        except (psycopg.Error, asyncio.CancelledError) as error:
            if driver.closed:
                await connection.invalidate(error)
            if isinstance(error, psycopg.Error):
                raise self._as_sqlalchemy_has_it(error, driver) from error
            raise

    async def rows_on(
        self, driver: psycopg.AsyncConnection[Any], parameters: Mapping[str, Any]
    ) -> list[Any]:
        """Execute the statement on a connection of Psycopg and return its rows as named tuples."""
        try:
            cursor = await self._execute(driver, parameters)
        except psycopg.Error as error:
            raise self._as_sqlalchemy_has_it(error, driver) from error
        return self.named(await cursor.fetchall())

    async def _execute(
        self, driver: psycopg.AsyncConnection[Any], parameters: Mapping[str, Any]
    ) -> psycopg.AsyncCursor[Any]:
        values = self.values(parameters)
        cursor = psycopg.AsyncRawCursor(driver)  # no search for named parameters in the text
        return await cursor.execute(self.text, [values[name] for name in self.names])

    def _as_sqlalchemy_has_it(
        self, error: psycopg.Error, driver: psycopg.AsyncConnection[Any]
    ) -> BaseException:
        return DBAPIError.instance(
            self.text,
            None,
            error,
            psycopg.Error,
            connection_invalidated=bool(driver.closed),
            dialect=_PSYCOPG,
        )


def driver_of(connection: AsyncConnection) -> psycopg.AsyncConnection[Any]:
    """Return Psycopg's connection. For an open connection SQLAlchemy needs no greenlet."""
    assert connection.sync_connection is not None
    driver = connection.sync_connection.connection.driver_connection
    return cast("psycopg.AsyncConnection[Any]", driver)


class LoopConnections:
    """One autocommit connection for each event loop of the application that inserts runs one at a time.

    A statement on the caller's loop needs no other thread. The connection opens once the loop has executed a few statements elsewhere, so that
    a loop of a single call opens none. While the connection is in use, the caller has to go elsewhere.

    Args:
        address: The database.
        options: Options of a connection, unless the address has them.
    """

    def __init__(self, address: str, options: Mapping[str, Any]) -> None:
        known = psycopg.conninfo.conninfo_to_dict(address)
        self._options = {**options, **known}
        self._idle: dict[asyncio.AbstractEventLoop, psycopg.AsyncConnection[Any]] = {}
        self._calls: dict[asyncio.AbstractEventLoop, int] = {}
        self._is_closed = False

    async def rows(
        self, statement: PsycopgStatement, parameters: Mapping[str, Any]
    ) -> list[Any] | None:
        """Execute a statement and return its rows; ``None`` if the loop has no free connection."""
        loop = asyncio.get_running_loop()
        driver = await self._take(loop)
        if driver is None:
            return None
        try:
            rows = await statement.rows_on(driver, parameters)
        except BaseException:
            driver.pgconn.finish()
            self._calls[loop] = 0
            raise
        if self._is_closed:
            driver.pgconn.finish()
        else:
            self._idle[loop] = driver
        return rows

    def close(self) -> None:
        """Close the idle connections, from any thread; a connection in use is closed after its statement."""
        self._is_closed = True
        while self._idle:
            _, driver = self._idle.popitem()
            driver.pgconn.finish()

    async def _take(self, loop: asyncio.AbstractEventLoop) -> psycopg.AsyncConnection[Any] | None:
        calls = self._calls[loop] = self._calls.get(loop, 0) + 1
        if calls == 1:
            self._forget_ended()
        driver = self._idle.pop(loop, None)
        if driver is not None and is_readable(driver):  # the server has closed it
            driver.pgconn.finish()
            self._calls[loop] = 0
            return None
        if driver is None and calls == _CALLS_ELSEWHERE and not self._is_closed:
            return await self._open()
        return driver

    async def _open(self) -> psycopg.AsyncConnection[Any] | None:
        """Connect; ``None`` if that fails: the scheduler's own connections tell why."""
        try:
            return await QuietConnection.connect(**self._options, autocommit=True)
        except psycopg.Error:  # also a loop that cannot wait for sockets, as on Windows
            return None

    def _forget_ended(self) -> None:
        for loop in [loop for loop in self._calls if loop.is_closed()]:
            del self._calls[loop]
            if (driver := self._idle.pop(loop, None)) is not None:
                driver.pgconn.finish()


def is_readable(driver: Any) -> bool:
    """Return whether a connection has data to read or is closed.

    The check costs a system call; ``pool_pre_ping`` would cost a round trip for each transaction.
    """
    if driver.closed:
        return True
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(driver.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([driver.fileno()], [], [], 0)[0])


class QuietConnection(psycopg.AsyncConnection[Any]):
    """A connection that waits for the server without waking an idle process for any other reason."""

    async def wait(
        self, gen: Any, interval: float = _WAIT_SECONDS, *more: Any, **options: Any
    ) -> Any:
        """Wait as Psycopg does, but check for interrupts less often."""
        return await super().wait(gen, interval, *more, **options)
