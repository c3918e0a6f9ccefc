"""What ran here while a job was here: what the old server's log and screens get when it goes back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..storage.tables import UtcDateTime, job_audit, logged_job
from .old.clock import OldClock
from .old.scripts import PastRun

_MOST = 1000
"""Runs of one job that are carried over, the newest."""

CAME = "cutover start"
"""What the audit calls it when a job comes here."""
_CAME = sa.select(sa.func.max(job_audit.c.At, type_=UtcDateTime())).where(
    job_audit.c.JobName.in_(sa.bindparam("jobs", expanding=True)), job_audit.c.Action == CAME
)
_EVER = datetime(2000, 1, 1, tzinfo=UTC)


async def runs_here(
    connection: AsyncConnection, job: str, clock: OldClock, *, aliases: Sequence[str] = ()
) -> tuple[PastRun, ...]:
    """The attempts of a job since it came here, oldest first; in the times of the old server's clock."""
    c = logged_job.c
    begins = await connection.scalar(_CAME, {"jobs": [job, *aliases]}) or _EVER
    found = await connection.execute(
        sa.select(c.StartedAt, c.CompletedAt, c.Success, c.ResultMessage, c.ErrorMessage)
        .where(c.JobName == job, c.StartedAt >= begins, c.CompletedAt.is_not(None))
        .where(
            c.JobId.is_not(None)
        )  # attempts that were imported have none: they are the old server's own
        .order_by(c.ID.desc())
        .limit(_MOST)
    )
    return tuple(
        PastRun(
            started=clock.wall(row.StartedAt),
            ended=clock.wall(row.CompletedAt),
            seconds=round((row.CompletedAt - row.StartedAt).total_seconds()),
            success=row.Success,
            remarks=(row.ResultMessage if row.Success else row.ErrorMessage) or "",
        )
        for row in reversed(found.all())
    )
