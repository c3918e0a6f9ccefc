"""Backfill: the runs of slots of a past range, which nobody made at their time. Looked at before, in order, at a rate."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.actor import Actor
from ..core.errors import BulkError
from ..core.numbers import PRIORITIES, interval_of, is_priority
from ..core.states import RunState
from ..engine import creating
from ..jobs.definition import JobDefinition, JobType
from ..operations import Call
from ..schedules import AfterRunSchedule, parse_zone
from ..storage.audit import audit
from ..storage.owners import rows as owners
from ..storage.runs.values import NewRun
from ..storage.tables import job_run
from ..storage.ties.keys.wanted import expiry, unique_key

MOST = 10_000
"""More slots at once are refused: nobody looks at them."""
BACKFILL = "Backfill"
"""How ``TriggeredBy`` of the runs begins."""
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Look:
    """The slots of a job in a range.

    Args:
        slots: All of them, the oldest first.
        there: Those that have a run, whatever became of it: they keep that one.
    """

    slots: tuple[datetime, ...]
    there: Mapping[datetime, RunState]

    @property
    def missing(self) -> list[datetime]:
        """Those without a run."""
        return [slot for slot in self.slots if slot not in self.there]


async def look(
    connection: AsyncConnection,
    job: JobDefinition,
    since: datetime,
    until: datetime,
    now: datetime,
) -> Look:
    """The slots from ``since`` up to, and not including, ``until``.

    Raises:
        BulkError: the job has no slots of the past, the range is not in the past, or has too many.
    """
    if job.schedule is None or isinstance(job.schedule, AfterRunSchedule):
        raise BulkError(f"{job.name} has no schedule that names slots of the past")
    if not since < until <= now:
        raise BulkError("a backfill is for a range of the past: since, then until, then now")
    between = job.schedule.between(since, until, parse_zone(job.timezone))
    slots = tuple(itertools.islice(between, MOST + 1))
    if len(slots) > MOST:
        raise BulkError(f"more than {MOST:,} slots: take a shorter range")
    c = job_run.c
    found = await connection.execute(
        sa.select(c.ScheduledFor, c.State).where(
            c.JobName == job.name, c.ScheduledFor >= since, c.ScheduledFor < until
        )
    )
    return Look(slots, {row.ScheduledFor: RunState(row.State) for row in found})


async def backfill(
    call: Call,
    job: JobDefinition,
    since: datetime,
    until: datetime,
    by: Actor,
    *,
    rate: float | None = None,
    priority: int | None = None,
    followers: bool = True,
) -> int:
    """Make the runs that are missing, the oldest first; how many.

    Of a unique job, whose slots have one key, that is the oldest; the others stay missing, for when it is over.

    Args:
        call: The transaction.
        job: The job; its runs see their slot as ``ctx.scheduled_for``.
        since: From here on.
        until: Up to here.
        by: Who wants it.
        rate: So many a minute; ``None``: as fast as the workers are.
        priority: Instead of the job's own.
        followers: Whether the runs of the jobs that follow the job come too.

    Raises:
        BulkError: see :func:`look`; or the old server runs the job, or ``rate`` or ``priority`` is out of bounds.
    """
    if priority is not None and not is_priority(priority):
        raise BulkError(PRIORITIES)
    _apart(rate, 0)
    if await owners.not_ours(call.connection, [job.name]):
        raise BulkError(f"{job.name} is still run by the old server: targcc owner list")
    missing = (await look(call.connection, job, since, until, call.now)).missing
    apart = _apart(rate, len(missing))
    arguments = job.check({})
    unique, room = unique_key(job, arguments), job.room(arguments)
    who = str(Actor(BACKFILL, by.name or str(by)))
    then = creating.runs_after(job, who, call.now) if followers else ()
    runs = [
        NewRun(
            job_name=job.name,
            job_type=JobType.RECURRING,
            queue=job.queue,
            priority=job.priority if priority is None else priority,
            arguments_json=arguments,
            due_at=call.now + apart * place,
            scheduled_for=slot,
            triggered_by=who,
            state=RunState.SCHEDULED if apart and place else RunState.ENQUEUED,
            note=f"slot made up for, by {by}",
            expires_at=expiry(job, call.now + apart * place),
            unique=unique,
            then=then,
            ties=creating.ties_of(then),
            **room,
        )
        for place, slot in enumerate(missing)
    ]
    made = 0
    for start in range(0, len(runs), _CHUNK):
        some = runs[start : start + _CHUNK]
        made += await creating.create_slots(
            call.engine, call.connection, some, call.now, record_skipped=False
        )
    detail = f"{made} slots from {since.isoformat(timespec='minutes')} to {until.isoformat(timespec='minutes')}"
    await audit(call.connection, by, "backfill", call.now, job_name=job.name, detail=detail)
    return made


def _apart(rate: float | None, runs: int) -> timedelta:
    try:
        return interval_of(rate, runs)
    except ValueError as error:
        raise BulkError(str(error)) from None
