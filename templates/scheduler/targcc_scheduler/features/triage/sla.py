"""Late work: slots without a run, runs that wait too long, and jobs that miss their expectations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.languages import gettext, ngettext
from ...core.states import RunState
from ...db.columns import UtcDateTime
from ...db.dialects.frequent import FrequentStatement, is_among, listed
from ...db.tables import job_queue, job_run, job_schedule
from ...kernel import job_owner as owners
from ...kernel import pauses as calendar_model
from ...kernel.error_groups import watched_since
from ...kernel.jobs.definition import JobDefinition, are_same, deadline_before
from ...kernel.pauses import is_paused, paused_jobs
from ...kernel.runs.transition import is_in_state
from ...schedules.base import Schedule
from ...schedules.intervals import AfterRunSchedule
from ...schedules.zones import parse_zone

SLOT_GRACE = timedelta(minutes=2)
"""A slot without a run after this time is late: no node creates runs."""
RUN_GRACE = timedelta(minutes=10)
"""A run that waits longer than this for a worker is late."""
_DAY = timedelta(days=1)
_NEWEST = 10
_UNKNOWN, _NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_ALL_AGAIN = 20


@dataclass(frozen=True, slots=True)
class Late:
    """Late job or queue.

    Args:
        subject: The job, or the queue for ``kind`` ``queue``.
        kind: ``slot``, ``queue``, or the option that the job misses: ``must_finish_by``, ``must_start_within``, ``at_least``.
        detail: Description as a clause of a sentence.
        since: When the delay began.
        number: Number of late runs.
    """

    subject: str
    kind: str
    detail: str
    since: datetime
    number: int = 1


class NextSlots:
    """Cache of each job's next slot: pages and the loop of alerts ask again and again. Until the cached slot is late, the job needs no read."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Schedule, str, datetime, datetime | None]] = {}
        self._rounds = 0
        self._quiet: tuple[list[JobDefinition], Collection[str], datetime] | None = None

    def doubtful(
        self, jobs: Iterable[JobDefinition], asleep: Collection[str], before: datetime
    ) -> list[JobDefinition]:
        """Return the jobs outside ``asleep`` that may have an unhandled slot before an instant.

        Every 20th call returns all of them, because a wrong clock may have been corrected.
        """
        given = list(jobs)
        self._rounds += 1
        look_at_all = self._rounds % _ALL_AGAIN == 0
        if self._quiet is not None and not look_at_all:
            known, were_asleep, first = self._quiet
            if before < first and were_asleep == asleep and are_same(known, given):
                return []
        awake = [job for job in given if job.schedule is not None and job.name not in asleep]
        slots = [self._slot_of(job) for job in awake]
        self._quiet = given, asleep, min(slots, default=_NEVER)
        if look_at_all:
            return awake
        return [job for job, slot in zip(awake, slots, strict=True) if slot <= before]

    def _slot_of(self, job: JobDefinition) -> datetime:
        """Return the next slot of a job; the earliest instant if the slot is unknown."""
        kept = self._kept.get(job.name)
        if kept is None or kept[0] is not job.schedule or kept[1] != job.timezone:
            return _UNKNOWN
        return _NEVER if kept[3] is None else kept[3]

    def after(self, last: datetime, job: JobDefinition, schedule: Schedule) -> datetime | None:
        """Return the slot after a job's last handled slot, from the cache if possible."""
        kept = self._kept.get(job.name)
        if kept is not None and kept[0] is schedule and kept[1:3] == (job.timezone, last):
            return kept[3]
        slot = schedule.next(last, parse_zone(job.timezone))
        self._kept[job.name] = (schedule, job.timezone, last, slot)
        return slot


_NEXT_SLOTS: WeakKeyDictionary[sa.Engine, NextSlots] = WeakKeyDictionary()
_HANDLED = FrequentStatement(
    sa.select(job_schedule.c.JobName, job_schedule.c.LastSlot).where(
        job_schedule.c.LastSlot.is_not(None),
        is_among(job_schedule.c.JobName, listed("jobs", sa.Text)),
    )
)
_C = job_run.c
_PAUSED = sa.select(job_queue.c.Name).where(is_paused(job_queue))
_WAITING_RUNS = FrequentStatement(
    sa.select(
        _C.Queue,
        sa.func.count().label("number"),
        sa.func.min(_C.DueAt, type_=_C.DueAt.type).label("since"),
    )
    .where(is_in_state(RunState.ENQUEUED), _C.DueAt < sa.bindparam("before", type_=UtcDateTime))
    .where(_C.UnknownSince.is_(None), _C.Queue.not_in(_PAUSED))
    .group_by(_C.Queue)
)


async def late(
    connection: AsyncConnection,
    definitions: Iterable[JobDefinition],
    now: datetime,
) -> list[Late]:
    """Return all late jobs and queues.

    Args:
        connection: The connection for reads.
        definitions: The jobs.
        now: The present instant.
    """
    following = _NEXT_SLOTS.setdefault(connection.sync_engine, NextSlots())
    jobs = list(definitions)
    asleep = await paused_jobs(connection, now) | (await owners.not_ours(connection)).keys()
    slots = await late_slots(connection, jobs, asleep, now, following=following)
    runs = await late_runs(connection, now)
    return [*slots, *await broken(connection, jobs, asleep, now), *runs]


async def late_slots(
    connection: AsyncConnection,
    jobs: Iterable[JobDefinition],
    asleep: Collection[str],
    now: datetime,
    grace: timedelta = SLOT_GRACE,
    *,
    following: NextSlots | None = None,
) -> list[Late]:
    """Return the jobs outside ``asleep`` with a slot older than ``grace`` that no node has handled."""
    following = following or NextSlots()
    doubtful = following.doubtful(jobs, asleep, now - grace)
    handled: Mapping[str, datetime] = {}
    if doubtful:
        names = {"jobs": [job.name for job in doubtful]}
        handled = {row.JobName: row.LastSlot for row in await _HANDLED.all(connection, names)}
    slots = []
    for job in doubtful:
        last = handled.get(job.name)
        if last is None or job.schedule is None or isinstance(job.schedule, AfterRunSchedule):
            continue  # an interval counts from the end of the last run, which may still run
        slot = following.after(last, job, job.schedule)
        if slot is not None and slot + grace <= now:
            waited = humanize.duration(now - slot)
            detail = gettext(
                "the slot of %(time)s was due %(waited)s ago and has not started",
                time=f"{slot:%H:%M}",
                waited=waited,
            )
            slots.append(Late(job.name, "slot", detail, slot))
    return slots


async def late_runs(connection: AsyncConnection, now: datetime) -> list[Late]:
    """Return the queues in which runs have waited too long; skip queues in a pause or in maintenance."""
    waiting = await _WAITING_RUNS.all(connection, {"now": now, "before": now - RUN_GRACE})
    closed = await calendar_model.active(connection, now) if waiting else []
    return [
        Late(queue, "queue", _waits(number, now - since), since, number)
        for queue, number, since in waiting
        if not any(window.covers(queue) for window in closed)
    ]


def _waits(number: int, waited: timedelta) -> str:
    return ngettext(
        "%(num)s run waits for a worker, the oldest for %(time)s",
        "%(num)s runs wait for a worker, the oldest for %(time)s",
        number,
        time=humanize.duration(waited),
    )


async def broken(
    connection: AsyncConnection,
    jobs: Iterable[JobDefinition],
    asleep: Collection[str],
    now: datetime,
) -> list[Late]:
    """Return the expectations that jobs miss; a job without expectations costs no query."""
    issues = []
    for job in jobs:
        if not job.expectations.any:
            continue
        for check in (_finished, _started, _succeeded):
            issue = await check(connection, job, now, asleep=job.name in asleep)
            if issue is not None:
                issues.append(issue)
    return issues


async def _finished(
    connection: AsyncConnection,
    job: JobDefinition,
    now: datetime,
    *,
    asleep: bool,  # noqa: ARG001 - as the others have it
) -> Late | None:
    """Check ``must_finish_by``: the last slot before the last deadline has to have succeeded, however late."""
    by = job.expectations.finish_by
    if by is None or job.schedule is None:
        return None
    zone = parse_zone(job.timezone)
    deadline = deadline_before(by, job.timezone, now)
    slot = job.schedule.previous(deadline, zone)
    if slot is None or slot < deadline - _DAY:
        return None
    if not await _was_there(connection, job.name, slot):
        return None
    if any(at >= slot for at in await _successes(connection, job.name, _NEWEST)):
        return None
    detail = gettext(
        "the slot of %(slot)s must succeed by %(by)s and has not",
        by=f"{by:%H:%M}",
        slot=f"{slot:%H:%M}",
    )
    return Late(job.name, "must_finish_by", detail, deadline)


async def _was_there(connection: AsyncConnection, job: str, slot: datetime) -> bool:
    """Return whether the job was known at a slot: older runs or slots exist, or the slot has a run."""
    c = job_run.c
    oldest = sa.select(c.CreatedAt).where(c.JobName == job).order_by(c.Id).limit(1)
    first = await connection.scalar(oldest)
    if first is not None and first <= slot + SLOT_GRACE:
        return True
    last = sa.select(job_schedule.c.LastSlot).where(job_schedule.c.JobName == job)
    handled = await connection.scalar(last)
    return handled is not None and handled < slot


async def _started(
    connection: AsyncConnection, job: JobDefinition, now: datetime, *, asleep: bool
) -> Late | None:
    """Check ``must_start_within``: no run may wait longer for a worker, and no slot may stay unhandled longer."""
    within = job.expectations.start_within
    if within is None:
        return None
    c = job_run.c
    waits = (
        sa.select(c.Id, c.DueAt)
        .where(c.JobName == job.name, c.State == RunState.ENQUEUED, c.DueAt < now - within)
        .order_by(c.DueAt)
        .limit(1)
    )
    row: Any = (await connection.execute(waits)).one_or_none()
    limit = humanize.duration(within)
    if row is not None:
        waited = humanize.duration(now - row.DueAt)
        detail = gettext(
            "run %(id)s has waited %(time)s for a worker (limit: %(limit)s)",
            id=row.Id,
            time=waited,
            limit=limit,
        )
        return Late(job.name, "must_start_within", detail, row.DueAt + within)
    missing = await late_slots(connection, [job], {job.name} if asleep else (), now, within)
    if not missing:
        return None
    detail = gettext("%(late)s (limit: %(limit)s)", late=missing[0].detail, limit=limit)
    return Late(job.name, "must_start_within", detail, missing[0].since + within)


async def _succeeded(
    connection: AsyncConnection,
    job: JobDefinition,
    now: datetime,
    *,
    asleep: bool,  # noqa: ARG001 - as the others have it
) -> Late | None:
    """Check ``at_least``: a job known for the whole period has to have enough successes in the period."""
    wanted, within = job.expectations.successes, job.expectations.within
    if not wanted:
        return None
    since = now - within
    known_since = await _known_since(connection, job.name)
    if known_since is None or known_since > since:
        return None
    every = await _successes(connection, job.name, wanted)
    ends = [at for at in every if at > since]
    if len(ends) >= wanted:
        return None
    broken_at = every[-1] + within if len(every) == wanted else known_since + within
    successes = humanize.count(len(ends), "success", "successes") if ends else gettext("none")
    detail = gettext(
        "expected %(wanted)s, counted %(there)s",
        wanted=str(job.expectations.at_least),
        there=successes,
    )
    return Late(job.name, "at_least", detail, broken_at)


async def _successes(connection: AsyncConnection, job: str, count: int) -> list[datetime]:
    """Return when a job's newest ``count`` successful runs ended, newest first."""
    c = job_run.c
    newest = (
        sa.select(c.CompletedAt)
        .where(c.JobName == job, c.State == RunState.SUCCEEDED)
        .order_by(c.Id.desc())
        .limit(count)
    )
    return [at for at in await connection.scalars(newest) if at is not None]


async def _known_since(connection: AsyncConnection, job: str) -> datetime | None:
    """Return since when a job is known: since the oldest stored run, or since a node's first check if earlier."""
    c = job_run.c
    oldest = sa.select(c.CreatedAt).where(c.JobName == job).order_by(c.Id).limit(1)
    instants = [await connection.scalar(oldest), await watched_since(connection, job)]
    return min((at for at in instants if at is not None), default=None)
