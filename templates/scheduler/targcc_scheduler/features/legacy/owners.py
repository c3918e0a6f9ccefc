"""Owner of a job: the old server or this one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.states import ACTIVE, WAITING, RunState
from ...db.columns import UtcDateTime
from ...db.dialects import known
from ...db.dialects.counting import changed
from ...db.dialects.frequent import FrequentStatement
from ...db.tables import job_owner, job_run, job_schedule, job_setting, job_shadow

# Who runs a job, as ``c_JobOwner`` says it.


class Owner(StrEnum):
    """Who runs a job."""

    OLD = "old"
    """The old server; here no slot becomes a run, and no run is claimed."""
    NEW = "new"
    """This scheduler; so is every job without a row."""
    SHADOW = "shadow"
    """The old server, while this one writes down when it would have run the job."""


class Step(StrEnum):
    """What has been begun with a job and is not finished: until it is, the job runs on neither side."""

    TAKING = "taking"
    """From the old server: its row is being switched off."""
    RETURNING = "returning"
    """Back to the old server: its row is being switched on."""

    @property
    def command(self) -> str:
        """What finishes it."""
        return "targcc cutover start" if self is Step.TAKING else "targcc cutover back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """One row.

    Args:
        job: The job's name.
        owner: Who runs it.
        old_key: The ID of its row in the old ``c_Job``.
        runner: The old server's process that runs or ran it; those of one runner change sides together.
        since: Since when.
        by: Who said so.
        reason: What they gave as reason.
        step: What is not finished.
        mark: What stands in the old row while it is switched off; it names the one change of sides that it belongs to.
        next_slot: The first slot that the side which takes over has to run.
        waiting: How many runs wait here for the job to come here.
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


# Rows of ``c_JobOwner``. What the claim asks is :data:`IS_OURS`.

_MANY = 500
_LOCK = "first owner"

IS_OURS = job_run.c.JobName.not_in(
    sa.select(job_owner.c.JobName).where(
        job_owner.c.Owner != sa.literal_column(f"'{Owner.NEW}'")  # a parameter costs more
    )
)
"""That a run's job is run from here. Part of each statement that claims."""

IS_OURS_SQL = f"JobName NOT IN (SELECT JobName FROM c_JobOwner WHERE Owner <> '{Owner.NEW}')"  # noqa: S608 - a constant
"""The same, for statements that are written as text."""

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
"""How long a change of sides takes that is under way."""
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
"""Other values when a job has changed its owner; transactions commit in another order than that of their instants."""
_NEEDS_THIS_RELEASE = (
    sa.update(job_setting)
    .where(job_setting.c.Name == "oldest_code 0004", job_setting.c.Value != "0004")
    .values(Value="0004")
)
"""Code that knows no owners would run every job; from the first owner on it is refused."""


async def lock_first(connection: AsyncConnection) -> None:
    """Until the transaction ends, nobody else gives a job its first owner or its first schedule.

    A job that is created paused is so only without an owner: whoever writes the one has to see the other.
    """
    await known.of(connection).lock_job(connection, _LOCK)


async def load(
    connection: AsyncConnection, jobs: Collection[str] | None = None
) -> dict[str, Ownership]:
    """The rows, of these jobs or all, by job."""
    query = _ALL if jobs is None else _ALL.where(job_owner.c.JobName.in_(list(jobs)))
    return {row.JobName: _ownership(row) for row in await connection.execute(query)}


async def unfinished(connection: AsyncConnection, now: datetime) -> list[Ownership]:
    """The jobs whose change of sides was begun more than a minute ago and is not finished: they run on neither side."""
    before = {"before": now - UNFINISHED_AFTER}
    return [_ownership(row) for row in await connection.execute(_UNFINISHED, before)]


async def not_ours(
    connection: AsyncConnection, jobs: Collection[str] | None = None
) -> dict[str, Owner]:
    """Those of the jobs, or of all, that are not run from here, and who owns them."""
    if jobs is None:
        every_row = await _NONE_OF_OURS.all(connection, {})
        return {row.JobName: Owner(row.Owner) for row in every_row}
    found: dict[str, Owner] = {}
    every = list(jobs)
    for start in range(0, len(every), _MANY):
        asked = {"jobs": every[start : start + _MANY]}
        rows = await connection.execute(_NOT_OURS, asked)
        found |= {row.JobName: Owner(row.Owner) for row in rows}
    return found


async def lock(connection: AsyncConnection, job: str) -> Ownership | None:
    """The row of a job; nobody else changes it, and no slot of the job becomes a run, until the transaction ends."""
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
    """Write who runs a job; ``columns`` are the others by their names, those that are not given stay as they are."""
    values: dict[str, Any] = {
        "JobName": job,
        "Owner": owner,
        "Since": now,
        "ChangedBy": str(by),
        **columns,
    }
    upsert = known.of(connection).upsert(job_owner, [job_owner.c.JobName], values)
    await connection.execute(upsert)
    await connection.execute(_NEEDS_THIS_RELEASE)


async def running(connection: AsyncConnection, job: str) -> list[int]:
    """The runs of a job that are running; a claim that is under way is waited for, so none is left out."""
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


# Slots of jobs that only look on: when they would have run from here.


async def record(connection: AsyncConnection, slots: Mapping[str, Sequence[datetime]]) -> None:
    """Write down the slots of jobs; those that are there already stay once."""
    rows = [{"JobName": job, "Slot": slot} for job, many in slots.items() for slot in many]
    if rows:
        insert = known.of(connection).insert_ignore(job_shadow, [*job_shadow.primary_key.columns])
        await connection.execute(insert, rows)


async def recorded(
    connection: AsyncConnection, jobs: Collection[str], since: datetime, until: datetime
) -> dict[str, list[datetime]]:
    """The slots in ``[since, until)`` of each job, oldest first."""
    c = job_shadow.c
    found: dict[str, list[datetime]] = {job: [] for job in jobs}
    rows = await connection.execute(
        sa.select(c.JobName, c.Slot)
        .where(c.JobName.in_(list(jobs)), c.Slot >= since, c.Slot < until)
        .order_by(c.JobName, c.Slot)
    )
    for row in rows:
        found[row.JobName].append(row.Slot)
    return found


async def prune(connection: AsyncConnection, before: datetime) -> int:
    """Remove slots from before an instant; how many."""
    return await changed(connection, sa.delete(job_shadow).where(job_shadow.c.Slot < before))
