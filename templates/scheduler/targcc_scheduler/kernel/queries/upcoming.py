"""Next starts of all jobs: waiting runs and the next slots of schedules."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter

from ...schedules.intervals import AfterRunSchedule
from ...schedules.zones import parse_zone
from ..jobs.definition import JobDefinition
from .jobs import JobEntry
from .models import Run


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A run that is due by itself, or a slot that will create a run."""

    at: datetime
    job: str
    run: Run | None


MOST_UPCOMING = 100
"""Limit of next starts."""


def upcoming(
    jobs: Iterable[JobEntry], waiting: Iterable[Run], now: datetime
) -> tuple[Upcoming, ...]:
    """Return the first of the next starts of all jobs: waiting, delayed and retrying runs, and each job's next slot."""
    slots = [(job.next_run, job.definition.name, None) for job in jobs if job.next_run is not None]
    starts: list[tuple[datetime, str, Run | None]] = [*slots]
    starts += [(max(run.due_at, now), run.job, run) for run in waiting]
    first = heapq.nsmallest(MOST_UPCOMING, starts, key=itemgetter(0, 1))
    return tuple(itertools.starmap(Upcoming, first))


def coming_slots(jobs: Iterable[JobEntry], now: datetime, horizon: datetime) -> Iterator[datetime]:
    """Yield the jobs' slots from ``now`` to ``horizon``."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    span = horizon - now + timedelta(hours=1)
    known = _slots_of(hour, span)
    for job in jobs:
        definition, first = job.definition, job.next_run
        if first is None or first >= horizon:
            continue
        kept = known.get(definition.name)
        if kept is None or kept[0] is not definition:
            kept = known[definition.name] = definition, _slots(definition, hour, span)
        for slot in kept[1]:
            if first <= slot < horizon:
                yield slot


@functools.lru_cache(maxsize=2)
def _slots_of(
    _start: datetime, _span: timedelta
) -> dict[str, tuple[JobDefinition, tuple[datetime, ...]]]:
    """Return the kept slots by job, for any number of jobs, as the page reloads every few seconds."""
    return {}


def _slots(definition: JobDefinition, start: datetime, span: timedelta) -> tuple[datetime, ...]:
    """Return a job's slots within ``span``, at most 500: more than the page can show."""
    if definition.schedule is None or isinstance(definition.schedule, AfterRunSchedule):
        return ()
    slots = definition.schedule.iter(start, parse_zone(definition.timezone))
    within = itertools.takewhile(lambda slot: slot < start + span, slots)
    return tuple(itertools.islice(within, 500))


def next_runs(job: JobEntry, count: int) -> list[datetime]:
    """Return the next slots of a job's schedule, at most ``count``."""
    if job.next_run is None or job.definition.schedule is None:
        return []
    zone = parse_zone(job.definition.timezone)
    slots = [job.next_run]
    while len(slots) < count:
        following = job.definition.schedule.next(slots[-1], zone)
        if following is None:
            break
        slots.append(following)
    return slots
