"""Keys of limits that nobody uses any more: their rows are removed, and made anew with the next run of the key."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...dialects import known
from ...dialects.counting import changed
from ...dialects.listed import is_among, listed
from ...schema.tied.keys import job_limit
from ...tables import job_run
from .renamed import IS_KEY

_l = job_limit.c
_IS_ONE = is_among(_l.LimitKey, listed("keys", sa.Text))
_IS_USED = sa.exists().where(job_run.c.LimitKey == _l.LimitKey, job_run.c.CompletedAt.is_(None))


async def prune(
    connection: AsyncConnection, now: datetime, *, after: str, most: int
) -> tuple[int, str | None]:
    """Look at up to ``most`` keys, and remove those without a run that is not over whose tokens are all there again.

    The next run of such a key finds all its room and all its tokens, with the row or without. What is looked at is locked, but for keys that somebody admits runs of just now: a run that asks meanwhile
    waits for the lock, finds no row, and makes one.

    Args:
        connection: A transaction that writes.
        now: The present instant.
        after: The key that was seen last; empty: none.
        most: How many are looked at.

    Returns:
        How many were removed, and the key that was seen last; ``None``: it was the last there is.
    """
    page = sa.select(_l.LimitKey).where(_l.LimitKey > after).order_by(_l.LimitKey).limit(most)
    keys = list(await connection.scalars(page))
    if not keys:
        return 0, None
    locking = sa.select(_l.LimitKey).where(_IS_ONE, IS_KEY).order_by(_l.LimitKey)
    free = await connection.scalars(locking.with_for_update(skip_locked=True), {"keys": keys})
    held = list(free)
    clock = await known.of(connection).read_clock(connection) or now
    # A statement of its own: on PostgreSQL it sees the runs that asked until the rows were locked.
    is_full = sa.or_(_l.NextAt.is_(None), _l.NextAt <= clock)
    unused = sa.delete(job_limit).where(_IS_ONE, ~_IS_USED, is_full)
    gone = await changed(connection, unused, {"keys": held})
    return gone, keys[-1] if len(keys) == most else None
