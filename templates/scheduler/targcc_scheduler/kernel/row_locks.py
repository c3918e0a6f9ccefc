"""Lock runs and their dependents, in id order, before writing about any of the runs.

A transaction that settles several runs, or discards the dependents of a run, comes to runs with smaller ids than runs that the transaction
has locked already. Locking all rows first, in id order, keeps two such transactions from a deadlock.
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
    """Lock runs and their direct and indirect dependents that still wait; on SQLite, where nobody else writes, do nothing.

    A dependent that is added meanwhile is locked by the transaction that decides about that dependent.
    """
    if not known.of(connection).many_writers:
        return  # no other transaction writes
    await lock(connection, await with_children(connection, run_ids, AWAITS))


async def with_children(
    connection: AsyncConnection, run_ids: Collection[int], which: sa.ColumnElement[bool]
) -> set[int]:
    """Return the given run ids and the ids of their direct and indirect dependents, following only dependents that match ``which``."""
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
    """Run a query over links between runs, limited to links with ``column`` among ``ids``; return the selected ids."""
    among = known.of(connection).among(column, sorted(ids))
    found = await connection.scalars(query.where(job_link.c.ParentKind == RUN, among))
    return set(found.all())


async def lock(connection: AsyncConnection, run_ids: Collection[int]) -> None:
    """Lock runs in id order."""
    among = known.of(connection).among(_r.Id, sorted(run_ids))
    await connection.execute(sa.select(_r.Id).where(among).order_by(_r.Id).with_for_update())
