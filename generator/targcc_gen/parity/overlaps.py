"""Jobs of one old runner that would run side by side: it ran one at a time, and procedures may rely on that."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from targcc_scheduler.schedules.intervals import EverySchedule

from targcc_gen.parity.compare import schedule_of
from targcc_gen.sources.model import Import, ImportedJob

SPAN = timedelta(days=35)
"""How far ahead is looked: a month's end and each weekday are in it."""
_MOST_SLOTS = 2000


@dataclass(frozen=True, slots=True)
class Meeting:
    """A start that meets a run of another job of the same runner.

    Attributes:
        at: When it is due.
        job: The job that is due.
        other: The job that still runs, or begins at the same time.
    """

    at: datetime
    job: ImportedJob
    other: ImportedJob


@dataclass(frozen=True, slots=True)
class RunnerQueue:
    """An old runner's jobs and their queue.

    Attributes:
        runner: The runner.
        queue: The queue that its jobs are in.
        workers: How many of them may run at once.
        jobs: How many active ones it has.
        meetings: How many starts in the next five weeks meet a run of another job, by the longest runs that the history knows.
        first: The first of them.
        longest_wait: How long a start would have to wait at the most.
    """

    runner: str
    queue: str
    workers: int
    jobs: int
    meetings: int = 0
    first: Meeting | None = None
    longest_wait: timedelta = timedelta(0)


def runner_queues(result: Import) -> list[RunnerQueue]:
    """Each old runner with its queue, and where one at a time matters."""
    jobs: dict[str, list[ImportedJob]] = {}
    for job in result.jobs:
        if job.old.runner and job.spec.queue in result.queues:
            jobs.setdefault(job.spec.queue, []).append(job)
    return [_used(result, queue, members) for queue, members in jobs.items()]


def _used(result: Import, queue: str, jobs: list[ImportedJob]) -> RunnerQueue:
    now = result.options.now
    free_at, holder, started = now, jobs[0], now - SPAN
    meetings, first, longest = 0, None, timedelta(0)
    slots = (_slots(result, job, place) for place, job in enumerate(jobs))
    for at, place in heapq.merge(*slots):
        job = jobs[place]
        if job is not holder and (at < free_at or at == started):
            meetings += 1
            first = first or Meeting(at, job, holder)
            longest = max(longest, free_at - at)
        started, holder = at, job
        free_at = max(free_at, at) + _length(result, job)
    runner, workers = jobs[0].old.runner, result.queues[queue]
    return RunnerQueue(runner, queue, workers, len(jobs), meetings, first, longest)


def _slots(result: Import, job: ImportedJob, place: int) -> Iterator[tuple[datetime, int]]:
    """When a job is due in the next five weeks, were nothing in its way."""
    options = result.options
    schedule = schedule_of(job.spec, options.zone)
    if job.spec.every is not None and job.spec.after is not None:
        schedule = EverySchedule(job.spec.every, options.now)
    if schedule is None:
        return iter(())
    slots = schedule.between(options.now, options.now + SPAN, options.zone)
    return ((slot.astimezone(UTC), place) for slot in islice(slots, _MOST_SLOTS))


def _length(result: Import, job: ImportedJob) -> timedelta:
    past = result.history.of(job.old.id, job.old.name)
    return past.longest if past is not None else timedelta(0)
