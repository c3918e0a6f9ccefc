"""The nights when clocks change, and what becomes of the jobs' slots in them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ...jobs.definition import JobDefinition
from ...schedules import AfterRunSchedule, Schedule, parse_zone
from ...schedules.clocks.changes import ClockChange, Effect, clock_changes, effect_of


@dataclass(frozen=True, slots=True)
class Touched:
    """A job of which a clock change moves, leaves out or repeats something."""

    job: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class Night:
    """A night when the clock of a zone changes.

    Args:
        zone: The zone.
        change: When, and from which offset to which.
        jobs: The jobs of the zone that it touches, in order.
    """

    zone: str
    change: ClockChange
    jobs: tuple[Touched, ...]


def nights(
    definitions: Iterable[JobDefinition], start: datetime, end: datetime, *zones: str
) -> tuple[Night, ...]:
    """The clock changes of the jobs' zones from ``start`` up to ``end``, the earliest first.

    Args:
        definitions: The jobs.
        start: From when.
        end: Up to when.
        zones: Zones that are of interest without jobs too.
    """
    by_zone: dict[str, dict[Schedule, list[str]]] = {zone: {} for zone in zones}
    for job in definitions:
        if job.schedule is not None and not isinstance(job.schedule, AfterRunSchedule):
            schedules = by_zone.setdefault(job.timezone, {})
            schedules.setdefault(job.schedule, []).append(job.name)
    found = [
        Night(zone, change, _touched(schedules, change, zone))
        for zone, schedules in by_zone.items()
        for change in _changes(zone, start.astimezone(UTC).replace(minute=0, second=0), end)
        if start <= change.at < end
    ]
    return tuple(sorted(found, key=lambda night: (night.change.at, night.zone)))


def coming_nights(
    definitions: Iterable[JobDefinition], now: datetime, *zones: str
) -> tuple[Night, ...]:
    """Those of the next year: in most zones two."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    within = nights(definitions, day, day + timedelta(days=366), *zones)
    return tuple(night for night in within if night.change.at > now)


def _touched(
    schedules: dict[Schedule, list[str]], change: ClockChange, zone: str
) -> tuple[Touched, ...]:
    found = [
        Touched(name, effect)
        for schedule, names in schedules.items()
        if (effect := effect_of(schedule, change, parse_zone(zone))) is not None
        for name in names
    ]
    return tuple(sorted(found, key=lambda one: one.job))


@functools.lru_cache(maxsize=256)
def _changes(zone: str, start: datetime, end: datetime) -> tuple[ClockChange, ...]:
    return tuple(clock_changes(parse_zone(zone), start - timedelta(seconds=1), end))
