"""Statements that Psycopg executes directly, see ``frequent.py``; and a Psycopg connection that stays idle while no data comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from .base import DriverStatement

_PSYCOPG: sa.Dialect = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
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
        cursor = await self._execute(connection, parameters)
        return self.named(await cursor.fetchall())

    async def counts(
        self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]
    ) -> list[int]:
        """Execute the statement for each set of parameters and return the number of changed rows of each."""
        return [(await self._execute(connection, parameters)).rowcount for parameters in many]

    async def _execute(
        self, connection: AsyncConnection, parameters: Mapping[str, Any]
    ) -> psycopg.AsyncCursor[Any]:
        plain = connection.sync_connection
        if plain is None or plain.invalidated:
            await connection.get_raw_connection()  # reconnects, or raises the reason
        driver = driver_of(connection)
        if not (driver.autocommit or connection.in_transaction()):
            await connection.begin()  # so that the owner of the connection can commit
        try:
            values = self.values(parameters)
            cursor = psycopg.AsyncRawCursor(driver)  # no search for named parameters in the text
            return await cursor.execute(self.text, [values[name] for name in self.names])
        except psycopg.Error as error:
            if driver.closed:  # so that the pool drops it
                await connection.invalidate(error)
            raise DBAPIError.instance(
                self.text,
                None,
                error,
                psycopg.Error,
                connection_invalidated=bool(driver.closed),
                dialect=_PSYCOPG,
            ) from error


def driver_of(connection: AsyncConnection) -> psycopg.AsyncConnection[Any]:
    """Return Psycopg's connection. For an open connection SQLAlchemy needs no greenlet."""
    assert connection.sync_connection is not None
    driver = connection.sync_connection.connection.driver_connection
    return cast("psycopg.AsyncConnection[Any]", driver)


class QuietConnection(psycopg.AsyncConnection[Any]):
    """A connection that waits for the server without waking an idle process for any other reason."""

    async def wait(
        self, gen: Any, interval: float = _WAIT_SECONDS, *more: Any, **options: Any
    ) -> Any:
        """Wait as Psycopg does, but check for interrupts less often."""
        return await super().wait(gen, interval, *more, **options)
