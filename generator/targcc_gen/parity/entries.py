"""Compare an entry of an old scheduler with the jobs that it became: the simulated starts against the new slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.base import Schedule
from targcc_scheduler.schedules.dst import clock_changes

from targcc_gen.parity.shapes import Difference, OneSided, by_kind, change_at, one_sided, season
from targcc_gen.sources.model import ImportedJob

_SLICE = timedelta(days=35)
"""The length of the slices of a period that are compared one after the other, so that a job of every second fits into memory."""


def entry_differences(
    schedules: Sequence[tuple[ImportedJob, Schedule | None, ZoneInfo]],
    starts: Callable[[datetime, datetime], Iterable[datetime] | None],
    start: datetime,
    end: datetime,
) -> Iterator[Difference]:
    """Yield the differences of an entry, one of each kind, on its first job.

    Kinds: ``spring`` and ``autumn`` at a clock change, ``twice`` where two jobs of the entry start at the same instant, else ``calendar``.

    Args:
        schedules: The jobs of the entry, each with its schedule and its zone.
        starts: Returns the aware starts of the old scheduler in a period; None if they cannot be compared.
        start: The beginning of the period; aware.
        end: The end of the period; aware.
    """
    job, _, zone = schedules[0]
    differing: list[OneSided] = []
    twice: list[tuple[datetime, int]] = []
    for first, last in pairwise(_slices(start, end)):
        olds = starts(first, last)
        if olds is None:
            return
        slots = Counter(
            slot.astimezone(UTC)
            for _, schedule, own_zone in schedules
            if schedule is not None
            for slot in schedule.between(first, last, own_zone)
            if slot > start
        )
        old_starts = (moment.astimezone(UTC) for moment in olds if moment > start)
        differing += one_sided(old_starts, slots)
        twice += sorted((slot, count) for slot, count in slots.items() if count > 1)
    nights = list(clock_changes(zone, start - timedelta(days=1), end))

    def kind(moment: OneSided) -> str:
        night = change_at(nights, moment.at)
        return season(night) if night else "calendar"

    def words(_kind: str, moment: OneSided, _count: int) -> tuple[str, str]:
        night = change_at(nights, moment.at)
        because = f": {night}" if night else ""
        clock = f"{moment.at.astimezone(zone):%a %d %b %H:%M}"
        if moment.ran:
            return f"runs at {clock}{because}", "does not run then"
        return f"does not run{because}", f"runs at {clock}"

    yield from by_kind(differing, kind, words, job)
    if twice:
        slot, count = twice[0]
        text = f"runs {count} times at {slot.astimezone(zone):%a %d %b %H:%M}, as several of its schedules name that time"
        yield Difference(job, "twice", slot, "runs once", text, len(twice))


def _slices(start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the bounds of the slices of a period."""
    while start < end:
        yield start
        start += _SLICE
    yield end
