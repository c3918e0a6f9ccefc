"""The load of the new schedules over five weeks: workers needed, waits, and the quiet hours of a day."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from targcc_gen.parity.compare import SPAN, due_times
from targcc_gen.sources.model import Import, ImportedJob

ASSUMED = timedelta(minutes=1)
"""The assumed duration of a run without history."""
DEFAULT_WORKERS = 5
"""The workers of a queue on each server that the project does not list."""
WINDOW = 2
"""The hours of the quiet window."""
_OFTEN = 5000
"""Starts in five weeks from which on a job counts as running without end: every ten minutes, or more often."""
_HOURS = 24
_NOON = 12
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Wait:
    """The longest wait of a queue: the job that waits and its due time."""

    length: timedelta
    job: ImportedJob
    at: datetime


@dataclass(slots=True)
class QueueLoad:
    """The load of a queue.

    Attributes:
        queue: The queue's name.
        workers: The workers that the queue has.
        jobs: The number of active jobs.
        often: Jobs that count as running without end.
        needed: The workers with which no run waits.
        peak: The first moment that needs all of these workers.
        wait: The longest wait with the queue's workers; None if no run waits.
    """

    queue: str
    workers: int
    jobs: int = 0
    often: int = 0
    needed: int = 0
    peak: datetime | None = None
    wait: Wait | None = None


@dataclass(slots=True)
class Load:
    """The load of all active jobs.

    Attributes:
        queues: The load of each queue.
        measured: Jobs with a duration in the history.
        assumed: Jobs whose runs are assumed to take a minute.
        hours: Busy minutes and starts of each hour of the day, on average, on the old server's clock.
    """

    queues: list[QueueLoad] = field(default_factory=list)
    measured: int = 0
    assumed: int = 0
    hours: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)] * _HOURS)

    @property
    def quiet(self) -> int:
        """The first hour of the quiet window: the fewest busy minutes, then the fewest starts, then the nearest to noon."""

        def weight(hour: int) -> tuple[float, float, int]:
            hours = [self.hours[(hour + step) % _HOURS] for step in range(WINDOW)]
            busy, starts = (round(sum(column), 3) for column in zip(*hours, strict=True))
            return busy, starts, abs(hour - _NOON)

        return min(range(_HOURS), key=weight)


@dataclass(frozen=True, slots=True)
class _Timed:
    """A job with the longest known duration of its runs, and its due times."""

    job: ImportedJob
    length: timedelta
    due: Sequence[datetime]

    @property
    def is_often(self) -> bool:
        return len(self.due) >= _OFTEN


def load_of(result: Import) -> Load:
    """Return the load of the active jobs with a schedule. A run takes its longest known duration; a job has one run at a time."""
    load = Load()
    queues: dict[str, list[_Timed]] = {}
    for job in result.running:
        if not job.spec.has_schedule:
            continue
        past = result.history.of(job.old.id, job.old.name)
        known = past.longest if past is not None else timedelta(0)
        load.measured += bool(known)
        load.assumed += not known
        timed = _Timed(job, known or ASSUMED, list(islice(due_times(result, job), _OFTEN)))
        queues.setdefault(job.spec.queue or "default", []).append(timed)
        _add_hours(load, result, timed)
    load.queues = [_queue(result, queue, jobs) for queue, jobs in sorted(queues.items())]
    return load


def _add_hours(load: Load, result: Import, timed: _Timed) -> None:
    days = SPAN / timedelta(days=1)
    if timed.is_often:  # evenly over the day
        each = timed.due[-1] - timed.due[0]
        starts = _OFTEN / (each / _HOUR) if each else 0.0
        busy = min(60.0, starts * timed.length.total_seconds() / 60)
        load.hours = [(minutes + busy, count + starts) for minutes, count in load.hours]
        return
    for due in timed.due:
        local = due.astimezone(result.options.zone)
        minutes, count = load.hours[local.hour]
        load.hours[local.hour] = minutes, count + 1 / days
        for hour, share in _spread(local, timed.length):
            minutes, count = load.hours[hour]
            load.hours[hour] = minutes + share / days, count


def _spread(start: datetime, length: timedelta) -> Iterator[tuple[int, float]]:
    """Yield the hours of the day that a run covers, with its minutes in each; at most a day."""
    minute = start.hour * 60 + start.minute
    left = min(length.total_seconds() / 60, 24 * 60)
    while left > 0:
        part = min(left, 60 - minute % 60)
        yield minute // 60 % _HOURS, part
        minute, left = int(minute + part), left - part


def _queue(result: Import, name: str, jobs: Sequence[_Timed]) -> QueueLoad:
    """Return the load of a queue: once as if each run had a worker, once with the queue's workers."""
    queue = QueueLoad(name, result.queues.get(name, DEFAULT_WORKERS), len(jobs))
    queue.often = sum(timed.is_often for timed in jobs)
    rest = [timed for timed in jobs if not timed.is_often]
    ends: list[datetime] = []
    busy: dict[str, datetime] = {}
    for due, place in _starts(rest):
        timed = rest[place]
        if busy.get(timed.job.key, due) > due:
            continue
        while ends and ends[0] <= due:
            heapq.heappop(ends)
        busy[timed.job.key] = due + timed.length
        heapq.heappush(ends, due + timed.length)
        if len(ends) > queue.needed:
            queue.needed, queue.peak = len(ends), due
    queue.needed += queue.often
    queue.wait = _longest_wait(rest, queue.workers)
    return queue


def _starts(jobs: Sequence[_Timed]) -> Iterator[tuple[datetime, int]]:
    return heapq.merge(*([(due, place) for due in jobs[place].due] for place in range(len(jobs))))


def _longest_wait(jobs: Sequence[_Timed], workers: int) -> Wait | None:
    longest: Wait | None = None
    free = [datetime.min.replace(tzinfo=UTC)] * workers
    busy: dict[str, datetime] = {}
    for due, place in _starts(jobs):
        timed = jobs[place]
        if busy.get(timed.job.key, due) > due:
            continue
        begins = max(due, heapq.heappop(free))
        heapq.heappush(free, begins + timed.length)
        busy[timed.job.key] = begins + timed.length
        if begins > due and (longest is None or begins - due > longest.length):
            longest = Wait(begins - due, timed.job, due)
    return longest
