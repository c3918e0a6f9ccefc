"""The nights when clocks change, and what becomes of the jobs' slots in them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ...schedules import AfterRunSchedule, parse_zone
from ...schedules.clocks.changes import ClockChange, Effect, clock_changes, effect_of
from .groups import Groups


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


def nights(jobs: Groups, start: datetime, end: datetime, *zones: str) -> tuple[Night, ...]:
    """The clock changes of the jobs' zones from ``start`` up to ``end``, the earliest first.

    Args:
        jobs: The jobs, by their schedules.
        start: From when.
        end: Up to when.
        zones: Zones that are of interest without jobs too.
    """
    changes = {
        zone: [one for one in _changes(zone, _full_hour(start), end) if start <= one.at < end]
        for zone in {*zones, *(group.zone for group in jobs)}
    }
    found = [
        Night(zone, change, _touched(jobs, change, zone))
        for zone, within in changes.items()
        for change in within
    ]
    return tuple(sorted(found, key=lambda night: (night.change.at, night.zone)))


def coming_nights(jobs: Groups, now: datetime, *zones: str) -> tuple[Night, ...]:
    """Those of the next year: in most zones two."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    within = nights(jobs, day, day + timedelta(days=366), *zones)
    return tuple(night for night in within if night.change.at > now)


def _touched(jobs: Groups, change: ClockChange, zone: str) -> tuple[Touched, ...]:
    found = [
        Touched(name, effect)
        for group in jobs
        if group.zone == zone and not isinstance(group.schedule, AfterRunSchedule)
        if (effect := effect_of(group.schedule, change, parse_zone(zone))) is not None
        for name in group.names
    ]
    return tuple(sorted(found, key=lambda one: one.job))


def _full_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


@functools.lru_cache(maxsize=256)
def _changes(zone: str, start: datetime, end: datetime) -> tuple[ClockChange, ...]:
    return tuple(clock_changes(parse_zone(zone), start - timedelta(seconds=1), end))
