"""The load of the new schedules over five weeks: workers needed, waits, and the quiet hours of a day."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from targcc_gen.parity.compare import SPAN, due_times, longest_run
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
_MINUTES = 60
_EVER = datetime.min.replace(tzinfo=UTC)


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
class _Slots:
    """The due times of a schedule, shared by all jobs that have it, and their numbers by the minute of the day there."""

    due: Sequence[datetime]
    minutes: Mapping[int, int]

    @property
    def is_often(self) -> bool:
        return len(self.due) >= _OFTEN


@dataclass(frozen=True, slots=True)
class _Timed:
    """A job with the longest known duration of its runs, and its due times."""

    job: ImportedJob
    length: timedelta
    slots: _Slots


def load_of(result: Import) -> Load:
    """Return the load of the active jobs with a schedule. A run takes its longest known duration; a job has one run at a time."""
    load = Load()
    queues: dict[str, list[_Timed]] = {}
    slots: dict[tuple[object, ...], _Slots] = {}
    for job in result.running:
        if not job.spec.has_schedule:
            continue
        known = longest_run(result, job)
        load.measured += bool(known)
        load.assumed += not known
        spec = job.spec
        schedule = (spec.cron, spec.every, spec.anchor, spec.after, spec.at, spec.timezone)
        if schedule not in slots:  # many jobs share the same times
            slots[schedule] = _slots_of(result, job)
        timed = _Timed(job, known or ASSUMED, slots[schedule])
        queues.setdefault(job.spec.queue or "default", []).append(timed)
        _add_hours(load, timed)
    load.queues = [_queue(result, queue, jobs) for queue, jobs in sorted(queues.items())]
    return load


def _slots_of(result: Import, job: ImportedJob) -> _Slots:
    due = list(islice(due_times(result, job), _OFTEN))
    local = (moment.astimezone(result.options.zone) for moment in due)
    return _Slots(due, Counter(moment.hour * _MINUTES + moment.minute for moment in local))


def _add_hours(load: Load, timed: _Timed) -> None:
    due, length = timed.slots.due, timed.length.total_seconds() / 60
    if timed.slots.is_often:  # evenly over the day
        hours = (due[-1] - due[0]) / timedelta(hours=1)
        starts = len(due) / hours if hours else 0.0
        busy = min(float(_MINUTES), starts * length)
        load.hours = [(minutes + busy, count + starts) for minutes, count in load.hours]
        return
    days = SPAN / timedelta(days=1)
    for minute, number in timed.slots.minutes.items():
        hour = minute // _MINUTES
        minutes, count = load.hours[hour]
        load.hours[hour] = minutes, count + number / days
        for covered, share in _spread(minute, length):
            minutes, count = load.hours[covered]
            load.hours[covered] = minutes + share * number / days, count


def _spread(minute: int, length: float) -> Iterator[tuple[int, float]]:
    """Yield the hours of the day that a run covers, with its minutes in each; at most a day."""
    left = min(length, _HOURS * _MINUTES)
    while left > 0:
        part = min(left, _MINUTES - minute % _MINUTES)
        yield minute // _MINUTES % _HOURS, part
        minute, left = int(minute + part), left - part


def _queue(result: Import, name: str, jobs: Sequence[_Timed]) -> QueueLoad:
    """Return the load of a queue: once as if each run had a worker, once with the queue's workers."""
    queue = QueueLoad(name, result.queues.get(name, DEFAULT_WORKERS), len(jobs))
    queue.often = sum(timed.slots.is_often for timed in jobs)
    rest = [timed for timed in jobs if not timed.slots.is_often]
    starts = sorted((due, place) for place, timed in enumerate(rest) for due in timed.slots.due)
    queue.needed, queue.peak = _most_at_once(rest, starts)
    queue.needed += queue.often
    queue.wait = _longest_wait(rest, starts, queue.workers)
    return queue


Starts = Sequence[tuple[datetime, int]]
"""Due times in order, each with the job's place."""


def _most_at_once(jobs: Sequence[_Timed], starts: Starts) -> tuple[int, datetime | None]:
    """Return the largest number of runs at the same time if none waits, and its first moment."""
    most, peak = 0, None
    ends: list[datetime] = []
    busy = [_EVER] * len(jobs)
    for due, place in starts:
        if busy[place] > due:
            continue
        while ends and ends[0] <= due:
            heapq.heappop(ends)
        busy[place] = due + jobs[place].length
        heapq.heappush(ends, busy[place])
        if len(ends) > most:
            most, peak = len(ends), due
    return most, peak


def _longest_wait(jobs: Sequence[_Timed], starts: Starts, workers: int) -> Wait | None:
    longest: Wait | None = None
    free = [_EVER] * workers
    busy = [_EVER] * len(jobs)
    for due, place in starts:
        if busy[place] > due:
            continue
        begins = max(due, free[0])
        busy[place] = begins + jobs[place].length
        heapq.heapreplace(free, busy[place])
        if begins > due and (longest is None or begins - due > longest.length):
            longest = Wait(begins - due, jobs[place].job, due)
    return longest
