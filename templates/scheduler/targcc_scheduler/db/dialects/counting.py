"""Count the rows that a statement changes, and detect whether an insert added its row: the same on every database.

SQLAlchemy returns -1 for the row count of an ``INSERT`` on PostgreSQL. Therefore only this module reads row counts, of ``UPDATE`` and
``DELETE``; an insert returns the key of its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from . import known

Change: TypeAlias = sa.Update | sa.Delete


async def changed(
    connection: AsyncConnection, change: Change, parameters: Mapping[str, Any] | None = None
) -> int:
    """Execute an ``UPDATE`` or ``DELETE`` and return the number of its rows."""
    return (await connection.execute(change, parameters)).rowcount


def changed_by(connection: sa.Connection, change: Change) -> int:
    """Execute an ``UPDATE`` or ``DELETE`` on a sync connection and return the number of its rows."""
    return connection.execute(change).rowcount


async def insert_new(
    connection: AsyncConnection,
    table: sa.Table,
    keys: Sequence[sa.Column[Any]],
    row: Mapping[str, Any],
) -> bool:
    """Insert a row unless a row with its keys exists.

    Returns:
        Whether the row is new.
    """
    insert = known.of(connection).insert_ignore(table, keys).values(dict(row))
    return (await connection.execute(insert.returning(*keys))).first() is not None
