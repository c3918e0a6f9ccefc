"""Start, follow, stop and undo bulk operations and backfills."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor, visibility
from ...core.errors import BulkError, UnknownQueue
from ...core.numbers import PRIORITIES, interval_of, is_priority
from ...core.search_language import only
from ...core.states import RunState
from ...db.tables import job_run
from ...kernel import job_owner as owners
from ...kernel.audit import audit
from ...kernel.engine import submit
from ...kernel.jobs.definition import JobDefinition, JobType
from ...kernel.queries import system
from ...kernel.queries.run_search import RunFilter
from ...kernel.runs.values import NewRun
from ...kernel.unique import expiry, unique_key
from ...operations import Call
from ...scheduler import Scheduler
from ...schedules.intervals import AfterRunSchedule
from ...schedules.zones import parse_zone
from . import bulk, bulk_queries, bulk_steps
from .bulk_queries import ACTIONS, Bulk, Found

# Bulk operations: count the runs, begin with one audit row, follow, stop, undo.


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Request for a bulk operation.

    Args:
        action: An action of :data:`.bulk_queries.ACTIONS`.
        wanted: The run filter.
        queue: For ``queue``: the new queue.
        priority: For ``priority``: the new priority.
        rate: For ``retry`` and ``run-now``: runs a minute; ``None``: all at once.
        newest_first: Whether newer runs come first; by default the oldest first.
        note: For ``pause`` and ``discard``: the reason.
    """

    action: str
    wanted: RunFilter
    queue: str | None = None
    priority: int | None = None
    rate: float | None = None
    newest_first: bool = False
    note: str | None = None

    def check(self) -> None:
        """Validate the action, its options and the rate.

        Raises:
            BulkError: The request is invalid.
        """
        if self.action not in ACTIONS:
            raise BulkError(f"{self.action!r} is none of {', '.join(ACTIONS)}")
        if (self.action == "queue") != (self.queue is not None):
            raise BulkError("say the new queue with the action queue, and with no other")
        if (self.action == "priority") != (self.priority is not None):
            raise BulkError("say the new priority with the action priority, and with no other")
        if self.priority is not None and not is_priority(self.priority):
            raise BulkError(PRIORITIES)
        if self.rate is not None and self.action not in {"retry", "run-now"}:
            raise BulkError("a rate is for retry and run-now")
        self.check_spread(0)

    def check_spread(self, runs: int) -> None:
        """Check the rate for a number of runs.

        Raises:
            BulkError: The rate is out of bounds, or the last run would be due too late.
        """
        try:
            interval_of(self.rate, runs)
        except ValueError as error:
            raise BulkError(str(error)) from None

    @property
    def options(self) -> dict[str, Any]:
        """Return the stored options: every set field but the action and the filter."""
        every = {
            "queue": self.queue,
            "priority": self.priority,
            "rate": self.rate,
            "order": "newest" if self.newest_first else None,
            "note": self.note,
        }
        return {name: value for name, value in every.items() if value is not None}


def check(scheduler: Scheduler, wish: Wish) -> Wish:
    """Validate a request in this project, and limit the filter to jobs that the caller may act on.

    Returns:
        The limited request.

    Raises:
        BulkError: The request is invalid, the queue is unknown, or the caller may act on no job.
    """
    wish.check()
    allowed = visibility.get()
    if allowed is not None:
        jobs = allowed.administered if wish.action == "delete" else allowed.operated
        if not jobs:
            raise BulkError(f"there are no jobs that you may {wish.action}")
        search = replace(
            wish.wanted.search, terms=(*wish.wanted.search.terms, *only(job=sorted(jobs)).terms)
        )
        wish = replace(wish, wanted=replace(wish.wanted, search=search))
    if wish.queue is not None:
        try:
            system.check_queue(wish.queue, scheduler.definitions.values())
        except UnknownQueue as error:
            raise BulkError(str(error)) from None
    return wish


async def count(scheduler: Scheduler, wish: Wish) -> Found:
    """Count the runs that match an operation's filter.

    Raises:
        BulkError: The request is invalid.
    """
    checked = check(scheduler, wish)
    return await scheduler.read(lambda db: bulk_queries.find(db, checked.wanted))


async def begin(call: Call, wish: Wish, by: Actor, most: int | None = None) -> int:
    """Begin an operation and return its id. Nodes execute the steps, or :func:`work_off` in this process.

    Args:
        call: The transaction.
        wish: The request.
        by: The requester.
        most: The number of runs that the caller counted. If more runs match by now, nothing is begun.

    Raises:
        BulkError: The request is invalid, no run matches, or more runs match than ``most``.
    """
    wish.check()
    matches = await bulk_queries.find(call.connection, wish.wanted)
    if not matches.total:
        raise BulkError(f"no run matches {bulk_queries.words(wish.wanted)}")
    if most is not None and matches.total > most:
        raise BulkError(f"{matches.total} runs match by now, not {most}: count again")
    wish.check_spread(matches.total)
    total = len(matches.jobs) if wish.action == "pause" else matches.total
    return await _create(call, wish, by, matches, total)


async def _create(call: Call, wish: Wish, by: Actor, selection: Found, total: int) -> int:
    bulk_id = await bulk.create(
        call.connection,
        Action=wish.action,
        FilterJson=bulk_queries.filter_json(wish.wanted),
        OptionsJson=json.dumps(wish.options),
        Total=total,
        Ceiling=selection.newest,
        Actor=str(by),
        StartedAt=call.now,
    )
    details = [f"operation {bulk_id}: {selection.total} runs of {bulk_queries.words(wish.wanted)}"]
    details += [f"{name} {value}" for name, value in wish.options.items()]
    jobs = list(selection.jobs)
    await audit(
        call.connection,
        by,
        f"bulk {wish.action}",
        call.now,
        job_name=jobs[0] if len(jobs) == 1 else None,
        detail="; ".join(details),
    )
    return bulk_id


async def undo(call: Call, bulk_id: int, by: Actor) -> int:
    """Begin an operation that undoes another operation as far as possible, and return the new operation's id.

    Raises:
        UnknownBulk: No operation has this id.
        BulkError: The operation cannot be undone.
    """
    operation = await bulk_queries.get(call.connection, bulk_id)
    if not operation.can_be_undone:
        raise BulkError(f"operation {bulk_id}: {_why_not(operation)}")
    row = await bulk.get(call.connection, bulk_id)
    back = await bulk.create(
        call.connection,
        Action=row.Action,
        FilterJson=row.FilterJson,
        OptionsJson=row.OptionsJson,
        Total=operation.done,
        Ceiling=row.Ceiling,
        Actor=str(by),
        StartedAt=call.now,
        Undoes=bulk_id,
    )
    detail = f"operation {back} takes back operation {bulk_id}: {operation.done} runs of {operation.filter}"
    await audit(call.connection, by, f"undo {row.Action}", call.now, detail=detail)
    return back


def _why_not(operation: Bulk) -> str:
    """Explain why an operation cannot be undone."""
    if operation.undone_by is not None:
        return f"it was taken back by operation {operation.undone_by}"
    if operation.undoes is not None:
        return f"it takes back operation {operation.undoes} itself"
    if operation.action not in bulk_queries.CAN_BE_UNDONE:
        return f"{operation.action} cannot be taken back"
    return "it goes on: stop it first" if operation.state == bulk.RUNNING else "nothing was done"


async def stop(call: Call, bulk_id: int, by: Actor) -> None:
    """Stop an operation and keep its effects so far.

    Raises:
        UnknownBulk: No operation has this id.
        BulkError: The operation is over.
    """
    await bulk.get(call.connection, bulk_id)
    if not await bulk.end(call.connection, bulk_id, bulk.STOPPED, call.now, f"by {by}"):
        raise BulkError(f"operation {bulk_id} is over")
    await audit(call.connection, by, "stop bulk", call.now, detail=f"operation {bulk_id}")


async def step(call: Call, bulk_id: int, jobs: Mapping[str, JobDefinition]) -> bool:
    """Process an operation's next runs here, and return whether runs remain."""
    work = bulk_steps.Work(call.connection, call.engine, call.now, jobs)
    return await bulk_steps.step(work, bulk_id)


async def work_off(
    scheduler: Scheduler, bulk_id: int, progress: Callable[[Bulk], None] | None = None
) -> Bulk:
    """Execute an operation's steps in this process, beside the nodes, until the operation is over, and return the operation."""
    while True:
        started = time.monotonic()
        more = await scheduler.operate(step, None, bulk_id, scheduler.definitions)
        operation = await scheduler.read(lambda db: bulk_queries.get(db, bulk_id))
        if progress is not None:
            progress(operation)
        if operation.state != bulk.RUNNING:
            return operation
        await asyncio.sleep(min(time.monotonic() - started, 0.2) / 2 if more else 0.1)


# Backfill: show the slots without a run in a past range, then create the missing runs in order, at a rate.

MOST = 10_000
"""Maximum number of slots in a backfill. Nobody reviews a longer list."""
BACKFILL = "Backfill"
"""``TriggeredBy`` prefix of backfilled runs."""
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Look:
    """A job's slots in a range.

    Args:
        slots: All slots, oldest first.
        there: Run state by slot, for slots with a run in any state. A backfill leaves such slots alone.
    """

    slots: tuple[datetime, ...]
    there: Mapping[datetime, RunState]

    @property
    def missing(self) -> list[datetime]:
        """Return the slots without a run."""
        return [slot for slot in self.slots if slot not in self.there]


async def look(
    connection: AsyncConnection,
    job: JobDefinition,
    since: datetime,
    until: datetime,
    now: datetime,
) -> Look:
    """Return the slots from ``since`` up to, but not including, ``until``.

    Raises:
        BulkError: The schedule names no past slots, the range is not in the past, or the range has more than :data:`MOST` slots.
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
    rows = await connection.execute(
        sa.select(c.ScheduledFor, c.State).where(
            c.JobName == job.name, c.ScheduledFor >= since, c.ScheduledFor < until
        )
    )
    return Look(slots, {row.ScheduledFor: RunState(row.State) for row in rows})


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
    """Create the missing runs, oldest first, and return the number of created runs.

    If a unique job's slots share a key, only the oldest missing slot gets a run. The later slots stay missing until
    that run is over; backfill again then.

    Args:
        call: The transaction.
        job: The job. A run reads its slot from ``ctx.scheduled_for``.
        since: The range's start, inclusive.
        until: The range's end, exclusive.
        by: The requester.
        rate: Runs a minute; ``None``: all at once, so that only the workers limit the speed.
        priority: The runs' priority; ``None``: the job's priority.
        followers: Whether to create the runs of follower jobs too.

    Raises:
        BulkError: As for :func:`look`; or the old server runs the job; or ``rate`` or ``priority`` is out of bounds.
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
    then = submit.runs_after(job, who, call.now) if followers else ()
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
            ties=submit.dependencies_of(then),
            **room,
        )
        for place, slot in enumerate(missing)
    ]
    made = 0
    for start in range(0, len(runs), _CHUNK):
        some = runs[start : start + _CHUNK]
        made += await submit.create_slots(
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
