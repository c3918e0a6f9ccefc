"""Compare an entry of an old scheduler with the jobs that it became: the simulated starts against the new slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.base import Schedule
from targcc_scheduler.schedules.dst import clock_changes

from targcc_gen.parity.shapes import Difference, OneSided, by_kind, change_at, one_sided, season
from targcc_gen.sources.model import ImportedJob


def entry_differences(
    schedules: Sequence[tuple[ImportedJob, Schedule | None, ZoneInfo]],
    olds: Iterable[datetime],
    start: datetime,
    end: datetime,
) -> Iterator[Difference]:
    """Yield the differences of an entry, one of each kind, on its first job.

    Kinds: ``spring`` and ``autumn`` at a clock change, ``twice`` where two jobs of the entry start at the same instant, else ``calendar``.

    Args:
        schedules: The jobs of the entry, each with its schedule and its zone.
        olds: The starts of the old scheduler; aware.
        start: The beginning of the period; aware.
        end: The end of the period; aware.
    """
    job, _, zone = schedules[0]
    slots = Counter(
        slot.astimezone(UTC)
        for _, schedule, own_zone in schedules
        if schedule is not None
        for slot in schedule.between(start, end, own_zone)
        if slot > start
    )
    old_starts = [moment.astimezone(UTC) for moment in olds if moment > start]
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

    yield from by_kind(one_sided(old_starts, slots), kind, words, job)
    twice = sorted(slot for slot, count in slots.items() if count > 1)
    if twice:
        text = f"runs {slots[twice[0]]} times at {twice[0].astimezone(zone):%a %d %b %H:%M}, as several of its schedules name that time"
        yield Difference(job, "twice", twice[0], "runs once", text, len(twice))
