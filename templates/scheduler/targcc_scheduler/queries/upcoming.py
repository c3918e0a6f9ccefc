"""The next runs of all jobs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..jobs.definition import JobDefinition
from ..schedules import AfterRunSchedule, parse_zone
from .jobs import JobOverview
from .models import Run


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A run that will start by itself, or a slot that will make one."""

    at: datetime
    job: str
    run: Run | None


def upcoming(
    jobs: Iterable[JobOverview], waiting: Iterable[Run], now: datetime
) -> tuple[Upcoming, ...]:
    """The next starts of all jobs: runs that wait for a worker, their time or another attempt, and the next slot of each job."""
    due = [Upcoming(max(run.due_at, now), run.job, run) for run in waiting]
    slots = [Upcoming(job.next_run, job.name, None) for job in jobs if job.next_run is not None]
    return tuple(sorted([*due, *slots], key=lambda one: (one.at, one.job)))


def coming_slots(
    jobs: Iterable[JobOverview], now: datetime, horizon: datetime
) -> Iterator[datetime]:
    """The slots of the jobs from ``now`` up to ``horizon``."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    for job in jobs:
        if job.next_run is not None and job.definition.schedule is not None:
            first = max(now, job.next_run)
            for slot in _slots_from(job.definition, hour, horizon - now + timedelta(hours=1)):
                if first <= slot < horizon:
                    yield slot


@functools.lru_cache(maxsize=4096)
def _slots_from(
    definition: JobDefinition, start: datetime, span: timedelta
) -> tuple[datetime, ...]:
    """The slots of a job within ``span``, at most 500: more than the time line can show. Cached, since the page is refreshed every few seconds."""
    if definition.schedule is None or isinstance(definition.schedule, AfterRunSchedule):
        return ()
    slots = definition.schedule.iter(start, parse_zone(definition.timezone))
    within = itertools.takewhile(lambda slot: slot < start + span, slots)
    return tuple(itertools.islice(within, 500))


def next_runs(job: JobOverview, count: int) -> list[datetime]:
    """The next runs of a job by its schedule, at most ``count``."""
    if job.next_run is None or job.definition.schedule is None:
        return []
    zone = parse_zone(job.definition.timezone)
    found = [job.next_run]
    while len(found) < count:
        following = job.definition.schedule.next(found[-1], zone)
        if following is None:
            break
        found.append(following)
    return found
