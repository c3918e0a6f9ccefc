"""Cursors: the position up to which a job has read, kept from run to run."""

from __future__ import annotations

import sqlalchemy as sa

from .database import Database


class Cursors:
    """The position up to which a job has read, kept between runs in the table ``JobCursor`` of the jobs' database.

    Save it in the transaction that stores what was read, so that both are committed or neither.
    """

    table = sa.Table(
        "JobCursor",
        sa.MetaData(),
        sa.Column("Name", sa.Unicode(100), primary_key=True),
        sa.Column("Value", sa.UnicodeText, nullable=False),
    )

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str, *earlier: str) -> str | None:
        """The saved value; ``None`` the first time.

        Args:
            name: The job's name.
            earlier: Names that it had before, the newest first: ``*ctx.aliases``. The first that has a value counts.
        """

        def read(connection: sa.Connection) -> str | None:
            self.table.create(connection, checkfirst=True)
            names = [name, *earlier]
            query = sa.select(self.table).where(self.table.c.Name.in_(names))
            found = {row.Name: str(row.Value) for row in connection.execute(query)}
            return next((found[one] for one in names if one in found), None)

        return await self._database.run(read)

    def save(self, connection: sa.Connection, name: str, value: str) -> None:
        """Store ``value`` as part of the transaction of ``connection``."""
        connection.execute(sa.delete(self.table).where(self.table.c.Name == name))
        connection.execute(sa.insert(self.table).values(Name=name, Value=value))
