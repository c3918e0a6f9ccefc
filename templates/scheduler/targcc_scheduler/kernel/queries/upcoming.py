"""Next starts of all jobs: waiting runs and the next slots of schedules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from ...schedules.zones import parse_zone
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
    starts: Sequence[tuple[datetime, str]], waiting: Iterable[Run], now: datetime
) -> tuple[Upcoming, ...]:
    """Return the first of the next starts of all jobs: waiting, delayed and retrying runs, and each job's next slot, of which ``starts`` has the first."""
    coming = [Upcoming(at, job, None) for at, job in starts[:MOST_UPCOMING]]
    coming += [Upcoming(max(run.due_at, now), run.job, run) for run in waiting]
    return tuple(sorted(coming, key=attrgetter("at", "job"))[:MOST_UPCOMING])


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
