"""A statement that Psycopg executes itself, see ``..frequent``; and a connection of its that is quiet while nothing comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from .driver_statement import DriverStatement

_PSYCOPG: sa.Dialect = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
_WAIT_SECONDS = 10.0
"""How often a connection that listens looks up from waiting. Psycopg's own tenth of a second is for Ctrl-C, which another thread hears."""


class PsycopgStatement(DriverStatement):
    """Executed on the connection of a transaction, or on one that commits by itself.

    Args:
        statement: What SQLAlchemy makes its text and conversions of.
    """

    def __init__(self, statement: Any) -> None:
        super().__init__(statement, _PSYCOPG)

    async def rows(self, connection: AsyncConnection, parameters: Mapping[str, Any]) -> list[Any]:
        """The rows that it finds."""
        cursor = await self._execute(connection, parameters)
        return self.named(await cursor.fetchall())

    async def counts(
        self, connection: AsyncConnection, many: Iterable[Mapping[str, Any]]
    ) -> list[int]:
        """How many rows it changes with each set of parameters."""
        return [(await self._execute(connection, one)).rowcount for one in many]

    async def _execute(
        self, connection: AsyncConnection, parameters: Mapping[str, Any]
    ) -> psycopg.AsyncCursor[Any]:
        plain = connection.sync_connection
        if plain is None or plain.invalidated:
            await connection.get_raw_connection()  # it connects again, or says why not
        driver = driver_of(connection)
        if not (driver.autocommit or connection.in_transaction()):
            await connection.begin()  # so that whoever it belongs to can commit
        try:
            values = self.values(parameters)
            cursor = psycopg.AsyncRawCursor(driver)  # it does not look for names in the text
            return await cursor.execute(self.text, [values[name] for name in self.names])
        except psycopg.Error as error:
            if driver.closed:  # so that nobody gets it again
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
    """The connection of Psycopg; of one that is open SQLAlchemy says it without the greenlet in which it would connect."""
    assert connection.sync_connection is not None
    driver = connection.sync_connection.connection.driver_connection
    return cast("psycopg.AsyncConnection[Any]", driver)


class QuietConnection(psycopg.AsyncConnection[Any]):
    """Waits for the server, and wakes an idle process for nothing else."""

    async def wait(
        self, gen: Any, interval: float = _WAIT_SECONDS, *more: Any, **options: Any
    ) -> Any:
        """Wait as Psycopg does, but look up less often."""
        return await super().wait(gen, interval, *more, **options)
