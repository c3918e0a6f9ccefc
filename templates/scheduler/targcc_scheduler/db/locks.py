"""Find the locks that keep the scheduler waiting, and the sessions or processes that hold them."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import visibility
from .dialects import known
from .dialects.lock import Lock

__all__ = ("SHORT", "Lock", "held")

SHORT = 2.0
"""Seconds for which a transaction may hold its locks without being reported."""


async def held(connection: AsyncConnection) -> list[Lock]:
    """Return the locks held by other sessions for longer than a short transaction, the oldest first.

    Reads no table of the scheduler, so that a locked table does not block the query. On SQLite, wait up to :data:`SHORT` for the write lock
    and release it at once. Return no lock to a user who may see only some jobs, because sessions are not for such users.
    """
    if visibility.get() is not None:
        return []
    return await known.of(connection).held_locks(connection, SHORT)
