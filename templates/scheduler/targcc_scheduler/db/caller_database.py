"""Check that an application's session is on the scheduler's database, before a statement fails in its transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import OtherDatabase
from .dialects import known

_TABLE = "c_JobRun"
_NO_TABLE = "no such table"
"""Words in SQLite's error message for an unknown table."""


class Home:
    """The scheduler's database, and the databases of sessions that have the scheduler's tables.

    A failed statement would make PostgreSQL refuse every later statement of the application's transaction, so the tables are looked up first,
    with one statement for each database and process. SQLite refuses only the failed statement.

    Args:
        url: The scheduler's database.
    """

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)
        self._known: set[sa.URL] = set()
        self._engines: WeakSet[sa.Engine] = WeakSet()

    async def enter(self, connection: AsyncConnection) -> None:
        """Check the tables, and make the application's transaction one that can write.

        Raises:
            OtherDatabase: The session's database has no tables of the scheduler, or is another system than the scheduler's.
        """
        async with self.writing(connection):
            await known.of(connection).lock_writes(connection)

    @asynccontextmanager
    async def writing(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Check the tables before or after a block of statements. The first statement of the block has to write.

        On SQLite a query before the block could make the database refuse the write lock, so the block's own error shows a missing table.

        Raises:
            OtherDatabase: as of :meth:`enter`.
        """
        if connection.dialect.name != self._url.get_backend_name():
            raise self._refusal(await _url_of(connection))
        dialect = known.of(connection)
        plain = connection.sync_connection
        if dialect.many_writers and (plain is None or plain.engine not in self._engines):
            # With a single writer, the write lock may be refused after a look at the tables.
            url = await _url_of(connection)
            if url not in self._known:
                if not await dialect.has_table(connection, _TABLE):
                    raise self._refusal(url)
                self._known.add(url)
            if plain is not None and plain.engine.url.database:
                self._engines.add(
                    plain.engine
                )  # a URL takes longer to compare; a lent connection has none
        try:
            yield
        except OperationalError as error:
            if _NO_TABLE in str(error.orig):
                raise self._refusal(await _url_of(connection)) from None
            raise

    def _refusal(self, url: sa.URL) -> OtherDatabase:
        other, own = _shown(url), _shown(self._url)
        if other == own:
            return OtherDatabase(
                f"session= is on the scheduler's database {own}, which has no tables of the scheduler yet: targcc migrate makes them"
            )
        lacks = "which has no tables of the scheduler"
        if url.get_backend_name() != self._url.get_backend_name():
            lacks = "another system"
        return OtherDatabase(
            f"session= is on {other}, {lacks}; the scheduler is on {own}: set TARGCC_DATABASE_URL to the session's database,"
            " or leave session= out"
        )


def _shown(url: sa.URL) -> str:
    """Return a URL without driver, password, options and the folder of a socket."""
    host = "" if (url.host or "").startswith("/") else url.host
    plain = sa.URL.create(url.get_backend_name(), url.username, None, host, url.port, url.database)
    return plain.render_as_string()


async def _url_of(connection: AsyncConnection) -> sa.URL:
    """Return the URL of a connection; of a connection that SQLAlchemy did not open, as its driver tells."""
    plain = connection.sync_connection
    assert plain is not None
    url = plain.engine.url
    return url if url.database else await known.of(connection).opened_url(connection, url)
