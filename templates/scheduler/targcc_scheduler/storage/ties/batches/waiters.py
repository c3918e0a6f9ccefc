"""Who waits for batches: the runs that do, the batches that these are in, and so on."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.states import RunState
from ...dialects import known
from ...tables import job_batch, job_link, job_run
from ..following import Parent
from ..links import BATCH, RUN


async def waiting_for(connection: AsyncConnection, batch_ids: Collection[int]) -> set[Parent]:
    """These batches, and every run and batch that does not end before they do."""
    found: set[Parent] = set()
    level: set[Parent] = {(BATCH, one) for one in batch_ids}
    while level:
        found |= level
        runs = [one for kind, one in level if kind == RUN]
        batches = [one for kind, one in level if kind == BATCH]
        level = {
            *await _children(connection, RUN, runs),
            *await _children(connection, BATCH, batches),
            *await _around(connection, job_run.c.BatchId, job_run.c.Id, runs),
            *await _around(connection, job_batch.c.ParentId, job_batch.c.Id, batches),
        } - found
    return found


async def _children(connection: AsyncConnection, kind: str, ids: Collection[int]) -> list[Parent]:
    """The runs that wait for some runs or batches."""
    if not ids:
        return []
    c = job_link.c
    among = known.of(connection).among(c.ParentId, sorted(ids))
    query = (
        sa.select(c.ChildId)
        .join(job_run, job_run.c.Id == c.ChildId)
        .where(c.ParentKind == kind, among, job_run.c.State == RunState.AWAITING)
    )
    return [(RUN, one) for one in await connection.scalars(query)]


async def _around(
    connection: AsyncConnection,
    outer: sa.Column[int],
    inner: sa.Column[int],
    ids: Collection[int],
) -> list[Parent]:
    """The batches that some runs or batches are in."""
    if not ids:
        return []
    among = known.of(connection).among(inner, sorted(ids))
    found = await connection.scalars(sa.select(outer).where(among, outer.is_not(None)))
    return [(BATCH, one) for one in found]
