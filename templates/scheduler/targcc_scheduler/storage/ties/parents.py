"""The runs that a run waits for, or waited for, and those that wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..tables import job_link, job_run, logged_job

_METADATA = (
    sa.select(logged_job.c.MetadataJson)
    .where(logged_job.c.JobId == sa.cast(job_run.c.Id, sa.String))
    .order_by(logged_job.c.ID.desc())
    .limit(1)
    .scalar_subquery()
)
_PARENTS = (
    sa.select(
        job_run.c.Id, job_run.c.JobName, job_run.c.State, job_run.c.Message, _METADATA.label("Data")
    )
    .join(job_link, sa.and_(job_link.c.ParentKind == "run", job_link.c.ParentId == job_run.c.Id))
    .where(job_link.c.ChildId == sa.bindparam("run_id"))
    .order_by(job_run.c.Id)
)


async def load(connection: AsyncConnection, run_id: int) -> Sequence[Any]:
    """The runs that a run waited for, as far as they still exist: Id, JobName, State, Message, and Data, which is metadata as JSON."""
    return (await connection.execute(_PARENTS, {"run_id": run_id})).all()
