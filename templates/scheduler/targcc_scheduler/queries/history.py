"""Reading the history: which jobs there have been, and their attempts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..storage.tables import job_run, logged_job
from .models import Attempt, attempt_of


async def known_jobs(connection: AsyncConnection) -> list[str]:
    """The names of all jobs that have runs, also of those that are not in the code any more; each costs one look into the index."""
    first = sa.select(sa.func.min(job_run.c.JobName).label("name")).cte("names", recursive=True)
    following = (
        sa.select(sa.func.min(job_run.c.JobName))
        .where(job_run.c.JobName > first.c.name)
        .scalar_subquery()
    )
    names = first.union_all(sa.select(following).where(first.c.name.is_not(None)))
    found = await connection.scalars(sa.select(names.c.name).where(names.c.name.is_not(None)))
    return list(found)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of the history ends: the start and key of its last attempt."""

    started_at: datetime
    id: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """What :meth:`__str__` has written.

        Raises:
            ValueError: it is something else.
        """
        at, _, key = text.partition("~")
        instant = datetime.fromisoformat(at)
        if instant.tzinfo is None or not key.isdecimal():
            raise ValueError(f"no place in a history: {text!r}")
        return cls(instant, int(key))

    def __str__(self) -> str:
        return f"{self.started_at.isoformat()}~{self.id}"


async def ended_since(
    connection: AsyncConnection, jobs: Collection[str], since: datetime, limit: int = 5000
) -> tuple[Attempt, ...]:
    """The attempts of some jobs that have begun here since an instant and are over, oldest first; the last ones where there are more."""
    c = logged_job.c
    statement = (
        sa.select(logged_job)
        .where(c.JobName.in_(list(jobs)), c.StartedAt >= since)
        .where(c.JobId.is_not(None), c.CompletedAt.is_not(None))  # without JobId: it was imported
        .order_by(c.StartedAt.desc(), c.ID.desc())
        .limit(limit)
    )
    return tuple(attempt_of(row) for row in reversed((await connection.execute(statement)).all()))


async def history(
    connection: AsyncConnection,
    job: str | None = None,
    limit: int = 50,
    *,
    after: Place | None = None,
) -> tuple[Attempt, ...]:
    """The last attempts in c_LoggedJob, of one job or of all, newest first; those that come after a place, if one is given."""
    c = logged_job.c
    statement = sa.select(logged_job).order_by(c.StartedAt.desc(), c.ID.desc())
    if job is not None:
        statement = statement.where(c.JobName == job)
    if after is not None:
        place = sa.tuple_(
            sa.literal(after.started_at, c.StartedAt.type), sa.literal(after.id, c.ID.type)
        )
        statement = statement.where(
            c.StartedAt <= after.started_at, sa.tuple_(c.StartedAt, c.ID) < place
        )
    return tuple(attempt_of(row) for row in await connection.execute(statement.limit(limit)))


def place_of(attempts: Sequence[Attempt], limit: int) -> Place | None:
    """Where the page after these begins; ``None`` when they are fewer than were asked for."""
    if len(attempts) < limit:
        return None
    return Place(attempts[-1].started_at, attempts[-1].id)
