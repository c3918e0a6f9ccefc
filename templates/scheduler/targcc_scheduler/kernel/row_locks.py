"""Holding runs, and those that wait for them, before anything is written about them: in the order of their ids, as everybody does.

Who ends several runs, or has what waits for one discarded, comes to runs with smaller ids than some that it has locked already. To have
locked all of them first keeps two that do so from waiting for each other.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import RunState
from ..db.dialects import known
from ..db.tables import job_link, job_run
from .dependencies import RUN

_r = job_run.c
AWAITS = _r.State == RunState.AWAITING


async def lock_rows(connection: AsyncConnection, run_ids: Collection[int]) -> None:
    """Lock runs, and those that wait for them, and those that wait for these; who is added meanwhile is locked by whoever decides about it."""
    if not known.of(connection).many_writers:
        return  # nobody else writes
    await lock(connection, await with_children(connection, run_ids, AWAITS))


async def with_children(
    connection: AsyncConnection, run_ids: Collection[int], which: sa.ColumnElement[bool]
) -> set[int]:
    """Runs, and those that hang on them directly or by others, as far as ``which`` holds for them."""
    found, level = set[int](), set(run_ids)
    query = sa.select(job_link.c.ChildId).join(job_run, _r.Id == job_link.c.ChildId).where(which)
    while level:
        found |= level
        level = await linked(connection, query, job_link.c.ParentId, level) - found
    return found


async def linked(
    connection: AsyncConnection,
    query: sa.Select[Any],
    column: sa.Column[Any],
    ids: Collection[int],
) -> set[int]:
    """What a query finds among the links between runs that have one of these ids in a column."""
    among = known.of(connection).among(column, sorted(ids))
    found = await connection.scalars(query.where(job_link.c.ParentKind == RUN, among))
    return set(found.all())


async def lock(connection: AsyncConnection, run_ids: Collection[int]) -> None:
    """Lock runs in the order of their ids."""
    among = known.of(connection).among(_r.Id, sorted(run_ids))
    await connection.execute(sa.select(_r.Id).where(among).order_by(_r.Id).with_for_update())
