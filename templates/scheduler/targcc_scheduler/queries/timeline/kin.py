"""The runs that hang together with some runs: that they waited for or that wait for them, in a few statements for all of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...storage.tables import job_batch, job_link, job_run
from ...storage.ties.links import BATCH, RUN

_MOST_ROUNDS, _MOST_LINKS, _MOST_RUNS = 8, 500, 1_000
_IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_LINKS = sa.select(job_link.c.ChildId, job_link.c.ParentKind, job_link.c.ParentId)
_BEFORE = _LINKS.where(job_link.c.ChildId.in_(_IDS), job_link.c.ParentKind.in_((BATCH, RUN)))
_AFTER = _LINKS.where(job_link.c.ParentKind == RUN, job_link.c.ParentId.in_(_IDS))
_AROUND = sa.union_all(*(sa.select(one.limit(_MOST_LINKS).subquery()) for one in (_BEFORE, _AFTER)))
"""The links of which one end is one of these runs, each end by its own index. Built once: it is asked again for each step of a chain."""
_RUNS = sa.select(
    job_run.c.Id,
    job_run.c.JobName,
    job_run.c.State,
    job_run.c.RetryOf,
    job_run.c.BatchId,
    job_run.c.Step,
).where(job_run.c.Id.in_(_IDS))
_BATCHES = sa.select(job_batch).where(job_batch.c.Id.in_(_IDS))


@dataclass(frozen=True, slots=True)
class Link:
    """A run waits, or waited, for another or for a batch: ``kind`` says which."""

    child: int
    kind: str
    parent: int


@dataclass(frozen=True, slots=True)
class Kin:
    """What hangs together with some runs.

    Args:
        runs: Rows of the runs, by id: those that were asked about too.
        links: Who waits for whom.
        batches: Rows of the batches and flows that they are of or wait for, by id.
    """

    runs: dict[int, Any]
    links: frozenset[Link]
    batches: dict[int, Any]


async def kin_of(
    connection: AsyncConnection, ids: Collection[int], batches: Collection[int]
) -> Kin:
    """What hangs together with these runs, of these batches and flows; of very long chains the part around them."""
    links, seen = await _links(connection, ids)
    if not links and not batches:
        return Kin({}, frozenset(), {})
    wanted = {one.parent for one in links if one.kind == BATCH} | set(batches)
    runs = await _asked(connection, _RUNS, seen)
    rows = await _asked(connection, _BATCHES, wanted) if wanted else ()
    return Kin({row.Id: row for row in runs}, links, {row.Id: row for row in rows})


async def _links(
    connection: AsyncConnection, ids: Collection[int]
) -> tuple[frozenset[Link], set[int]]:
    """The links that are reached from these runs, and the runs at their ends."""
    links: set[Link] = set()
    seen, frontier = set(ids), set(ids)
    for _ in range(_MOST_ROUNDS):
        if not frontier or len(seen) > _MOST_RUNS:
            break
        found = {Link(*row) for row in await _asked(connection, _AROUND, frontier)}
        links |= found
        ends = {one.child for one in found} | {one.parent for one in found if one.kind == RUN}
        frontier = ends - seen
        seen |= frontier
    return frozenset(links), seen


async def _asked(
    connection: AsyncConnection, statement: sa.Executable, ids: Collection[int]
) -> Sequence[Any]:
    return (await connection.execute(statement, {"ids": sorted(ids)})).all()
