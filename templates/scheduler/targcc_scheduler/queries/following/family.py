"""The runs that a run waits for, and those that wait for it."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.scope.visibility import visibility
from ...storage.tables import job_link, job_run
from ...storage.ties.following import place_of

_MOST = 100


@dataclass(frozen=True, slots=True)
class Relative:
    """A run that another waits for, or that waits for another.

    Args:
        kind: ``run``, ``batch``, or ``job`` for a run of a job that does not exist yet.
        id: Of the run or batch; ``None`` of one that does not exist yet.
        job: Its job, as far as it is known.
        state: Its state; of a run that was removed, the one in which it ended.
        on: How the one has to end for the other to go: ``success``, ``failure`` or ``finish``.
    """

    kind: str
    id: int | None
    job: str | None
    state: str | None
    on: str


async def parents(
    connection: AsyncConnection, run_id: int, after: tuple[str, ...] = ()
) -> tuple[Relative, ...]:
    """What a run waits for, or waited for; ``after`` are the jobs that its job follows."""
    is_run = sa.and_(job_link.c.ParentKind == "run", job_run.c.Id == job_link.c.ParentId)
    found = await connection.execute(
        sa.select(job_link, job_run.c.JobName, job_run.c.State)
        .select_from(job_link.outerjoin(job_run, is_run))
        .where(job_link.c.ChildId == run_id)
        .order_by(job_link.c.ParentKind.desc(), job_link.c.ParentId)
        .limit(_MOST)
    )
    allowed = visibility.get()
    to_come = {place_of(job): job for job in after if allowed is None or job in allowed.seen}
    return tuple(
        Relative(
            row.ParentKind,
            None if row.ParentKind == "job" else row.ParentId,
            row.JobName or to_come.get((row.ParentKind, row.ParentId)),
            row.State or row.Outcome,
            row.Condition,
        )
        for row in found
    )


async def children(
    connection: AsyncConnection, parent_id: int, kind: str = "run"
) -> tuple[Relative, ...]:
    """The runs that wait for a run, or a batch, or waited for it."""
    found = await connection.execute(
        sa.select(job_run.c.Id, job_run.c.JobName, job_run.c.State, job_link.c.Condition)
        .join(job_link, job_link.c.ChildId == job_run.c.Id)
        .where(job_link.c.ParentKind == kind, job_link.c.ParentId == parent_id)
        .order_by(job_run.c.Id)
        .limit(_MOST)
    )
    return tuple(Relative("run", row.Id, row.JobName, row.State, row.Condition) for row in found)
