"""The whole chain of one run: what it waited for, and what waits for it, down to the last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...storage.tables import job_link, job_run
from ...storage.ties.links import RUN
from ..models import Run
from .family import Relative

Line = tuple[tuple[Relative, ...], ...]
"""Runs and batches from the first on; those beside each other wait for the same."""
_MOST_LEVELS, _MOST = 30, 200
_Look = Callable[[AsyncConnection, Collection[int]], Awaitable[list[Relative]]]


async def line(connection: AsyncConnection, run: Run) -> Line:
    """The chain of a run; empty when it is alone. Of a very long one the part around the run."""
    before = await _walk(connection, run.id, _parents)
    after = await _walk(connection, run.id, _children)
    if not before and not after:
        return ()
    return (*reversed(before), (Relative(RUN, run.id, run.job, run.state, ""),), *after)


async def _walk(connection: AsyncConnection, run_id: int, look: _Look) -> Line:
    """What is reached from a run, by how many steps it takes on the longest way."""
    away: dict[tuple[str, int | None], tuple[int, Relative]] = {}
    frontier: Collection[int] = [run_id]
    for distance in range(1, _MOST_LEVELS + 1):
        found = await look(connection, frontier)
        away |= {(one.kind, one.id): (distance, one) for one in found}
        frontier = sorted({one.id for one in found if one.kind == RUN and one.id is not None})
        if not frontier or len(away) >= _MOST:
            break
    levels: dict[int, list[Relative]] = defaultdict(list)
    for distance, one in away.values():
        levels[distance].append(one)
    return tuple(tuple(levels[distance]) for distance in sorted(levels))


async def _parents(connection: AsyncConnection, ids: Collection[int]) -> list[Relative]:
    is_run = sa.and_(job_link.c.ParentKind == RUN, job_run.c.Id == job_link.c.ParentId)
    link = job_link.c
    found = await connection.execute(
        sa.select(link.ParentKind, link.ParentId, link.Outcome, link.Condition)
        .add_columns(job_run.c.JobName, job_run.c.State)
        .select_from(job_link.outerjoin(job_run, is_run))
        .where(link.ChildId.in_(ids), link.ParentKind != "job")
        .order_by(link.ParentKind.desc(), link.ParentId)
        .limit(_MOST)
    )
    return [
        Relative(row.ParentKind, row.ParentId, row.JobName, row.State or row.Outcome, row.Condition)
        for row in found
        if row.JobName is not None or row.ParentKind != RUN  # removed, or not to be seen
    ]


async def _children(connection: AsyncConnection, ids: Collection[int]) -> list[Relative]:
    link, c = job_link.c, job_run.c
    found = await connection.execute(
        sa.select(c.Id, c.JobName, c.State, link.Condition)
        .join(job_link, link.ChildId == c.Id)
        .where(link.ParentKind == RUN, link.ParentId.in_(ids))
        .order_by(c.Id)
        .limit(_MOST)
    )
    return [Relative(RUN, row.Id, row.JobName, row.State, row.Condition) for row in found]
