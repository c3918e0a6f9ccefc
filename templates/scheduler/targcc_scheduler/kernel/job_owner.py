"""Store which server runs a job: the old server or this scheduler."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor
from ..core.states import ACTIVE, WAITING, RunState
from ..db.columns import UtcDateTime
from ..db.dialects import known
from ..db.dialects.frequent import FrequentStatement, remove_some
from ..db.tables import job_owner, job_run, job_schedule, job_shadow

# Values in ``c_JobOwner``.


class Owner(StrEnum):
    """The owner of a job: the server that runs it."""

    OLD = "old"
    """The old server runs the job. Here no slot becomes a run, and no run is claimed."""
    NEW = "new"
    """This scheduler runs the job. Default for jobs without an owner row."""
    SHADOW = "shadow"
    """The old server runs the job, while this scheduler records the slots of the job without running it."""


class Step(StrEnum):
    """Unfinished cut-over of a job; until the cut-over is finished, the job may be off on both sides."""

    TAKING = "taking"
    """From the old server to this scheduler: the old row is being switched off."""
    RETURNING = "returning"
    """From this scheduler to the old server: the old row is being switched on."""

    @property
    def command(self) -> str:
        """Return the command that finishes the cut-over."""
        return "targcc cutover start" if self is Step.TAKING else "targcc cutover back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Row of ``c_JobOwner``.

    Args:
        job: Name of the job.
        owner: Server that runs the job.
        old_key: ID of the job's row in the old ``c_Job``.
        runner: Process of the old server that runs or ran the job; jobs of one runner are cut over together.
        since: Time of the last change of this row.
        by: Actor of the last change.
        reason: Reason of the last change.
        step: Unfinished cut-over.
        mark: Token in the old row while that row is switched off; identifies one cut-over.
        next_slot: First slot of the side that takes over.
        waiting: Number of runs that wait until the job comes to this scheduler.
    """

    job: str
    owner: Owner
    old_key: str | None
    runner: str | None
    since: datetime
    by: str
    reason: str | None
    step: Step | None
    mark: str | None
    next_slot: datetime | None
    waiting: int = 0


# Queries on ``c_JobOwner``. The claim condition is in ``features/legacy/claim.py``.

_MANY = 500
_LOCK = "first owner"

_NOT_OURS = sa.select(job_owner.c.JobName, job_owner.c.Owner).where(
    job_owner.c.Owner != Owner.NEW, job_owner.c.JobName.in_(sa.bindparam("jobs", expanding=True))
)
_NONE_OF_OURS = FrequentStatement(
    sa.select(job_owner.c.JobName, job_owner.c.Owner).where(job_owner.c.Owner != Owner.NEW)
)
_ALL = sa.select(
    job_owner,
    sa.select(sa.func.count())
    .where(job_run.c.JobName == job_owner.c.JobName, job_run.c.State.in_(sorted(WAITING)))
    .scalar_subquery()
    .label("waiting"),
).order_by(job_owner.c.JobName)
UNFINISHED_AFTER = timedelta(minutes=1)
"""Age from which a cut-over with a step counts as unfinished rather than in progress."""
_UNFINISHED = _ALL.where(
    job_owner.c.Step.is_not(None), job_owner.c.Since <= sa.bindparam("before", type_=UtcDateTime)
)
MARKS = tuple(
    sa.select(value).select_from(job_owner).scalar_subquery()
    for value in (
        sa.func.count(),
        sa.func.count().filter(job_owner.c.Owner == sa.literal_column(f"'{Owner.NEW}'")),
        sa.func.max(job_owner.c.Since, type_=UtcDateTime()),
    )
)
"""Values that change when a job's owner changes.

The latest ``Since`` is not enough, since transactions do not commit in the order of their instants.
"""


async def lock_first(connection: AsyncConnection) -> None:
    """Lock first owners and first schedules of jobs until the transaction ends.

    A new job is created paused only if the job has no owner. So the writer of the first owner and the writer of the first schedule must
    not run at the same time.
    """
    await known.of(connection).lock_job(connection, _LOCK)


async def load(
    connection: AsyncConnection, jobs: Collection[str] | None = None
) -> dict[str, Ownership]:
    """Return the owner rows by job name; ``jobs=None`` returns all rows."""
    query = _ALL if jobs is None else _ALL.where(job_owner.c.JobName.in_(list(jobs)))
    return {row.JobName: _ownership(row) for row in await connection.execute(query)}


async def unfinished(connection: AsyncConnection, now: datetime) -> list[Ownership]:
    """Return the owner rows whose cut-over began more than a minute ago and is unfinished; such jobs may be off on both sides."""
    before = {"before": now - UNFINISHED_AFTER}
    return [_ownership(row) for row in await connection.execute(_UNFINISHED, before)]


async def not_ours(
    connection: AsyncConnection, jobs: Collection[str] | None = None
) -> dict[str, Owner]:
    """Map the jobs that this scheduler does not run to their owner; ``jobs=None`` checks all jobs."""
    if jobs is None:
        every_row = await _NONE_OF_OURS.all(connection, {})
        return {row.JobName: Owner(row.Owner) for row in every_row}
    owners: dict[str, Owner] = {}
    every = list(jobs)
    for start in range(0, len(every), _MANY):
        parameters = {"jobs": every[start : start + _MANY]}
        rows = await connection.execute(_NOT_OURS, parameters)
        owners |= {row.JobName: Owner(row.Owner) for row in rows}
    return owners


async def lock(connection: AsyncConnection, job: str) -> Ownership | None:
    """Lock a job's schedule and owner row, and return the owner row; ``None`` if there is none.

    Until the transaction ends, no other transaction changes the row, and no slot of the job becomes a run.
    """
    schedule = sa.select(job_schedule.c.LastSlot).where(job_schedule.c.JobName == job)
    await connection.execute(schedule.with_for_update())
    own = sa.select(job_owner.c.JobName).where(job_owner.c.JobName == job).with_for_update()
    await connection.execute(own)
    return (await load(connection, [job])).get(job)


async def put(
    connection: AsyncConnection,
    job: str,
    owner: Owner,
    by: Actor,
    now: datetime,
    **columns: Any,
) -> None:
    """Insert or update the owner row of a job; ``columns`` sets further columns by name, and other columns stay unchanged."""
    values: dict[str, Any] = {
        "JobName": job,
        "Owner": owner,
        "Since": now,
        "ChangedBy": str(by),
        **columns,
    }
    upsert = known.of(connection).upsert(job_owner, [job_owner.c.JobName], values)
    await connection.execute(upsert)


async def running(connection: AsyncConnection, job: str) -> list[int]:
    """Return the ids of the job's running runs. Locks the active runs, so a claim in progress is waited for and its run is included."""
    active = sa.and_(job_run.c.JobName == job, job_run.c.State.in_(sorted(ACTIVE)))
    query = sa.select(job_run.c.Id, job_run.c.State).where(active).order_by(job_run.c.Id)
    rows = (await connection.execute(query.with_for_update())).all()
    return [row.Id for row in rows if row.State == RunState.RUNNING]


def _ownership(row: Any) -> Ownership:
    return Ownership(
        job=row.JobName,
        owner=Owner(row.Owner),
        old_key=row.OldKey,
        runner=row.Runner,
        since=row.Since,
        by=row.ChangedBy,
        reason=row.Reason,
        step=Step(row.Step) if row.Step else None,
        mark=row.Mark,
        next_slot=row.NextSlot,
        waiting=row.waiting,
    )


# Recorded slots of jobs in shadow: the times at which this scheduler would have run the jobs.


async def record(connection: AsyncConnection, slots: Mapping[str, Sequence[datetime]]) -> None:
    """Insert slots of jobs; skip slots that are already recorded."""
    rows = [{"JobName": job, "Slot": slot} for job, many in slots.items() for slot in many]
    if rows:
        insert = known.of(connection).insert_ignore(job_shadow, [*job_shadow.primary_key.columns])
        await connection.execute(insert, rows)


async def recorded(
    connection: AsyncConnection, jobs: Collection[str], since: datetime, until: datetime
) -> dict[str, list[datetime]]:
    """Return the recorded slots in ``[since, until)`` of each job, oldest first."""
    c = job_shadow.c
    slots: dict[str, list[datetime]] = {job: [] for job in jobs}
    rows = await connection.execute(
        sa.select(c.JobName, c.Slot)
        .where(c.JobName.in_(list(jobs)), c.Slot >= since, c.Slot < until)
        .order_by(c.JobName, c.Slot)
    )
    for row in rows:
        slots[row.JobName].append(row.Slot)
    return slots


async def prune(connection: AsyncConnection, before: datetime, _: datetime, most: int) -> int:
    """Delete up to ``most`` slots before an instant, and return their number."""
    return await remove_some(connection, job_shadow, job_shadow.c.Slot < before, most=most)
