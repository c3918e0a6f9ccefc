"""Cursors: store the position up to which a job has read, between runs."""

from __future__ import annotations

import sqlalchemy as sa

from .database import Database


class Cursors:
    """Store the read position of each job, between runs, in the table ``JobCursor`` of the jobs' database.

    Save the position in the transaction that stores the rows read, so that both are committed or neither.
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
        """Return the saved value; ``None`` before the first save.

        Args:
            name: The job's name.
            earlier: Earlier names of the job, newest first: ``*ctx.aliases``. The first name with a value counts.
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
