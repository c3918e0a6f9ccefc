"""The nights when clocks change, and what becomes of the jobs' slots in them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ...schedules import AfterRunSchedule, parse_zone
from ...schedules.clocks.changes import ClockChange, Effect, Kind, clock_changes, effect_of
from .groups import Group, Groups


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

    @property
    def effects(self) -> list[tuple[Kind, str, list[str]]]:
        """What becomes of the jobs: each effect with its words and the jobs that it is the same for."""
        found: dict[tuple[Kind, str], list[str]] = {}
        for one in self.jobs:
            found.setdefault((one.effect.kind, one.effect.words), []).append(one.job)
        return [(*key, found[key]) for key in sorted(found)]


def nights(jobs: Groups, start: datetime, end: datetime, *zones: str) -> tuple[Night, ...]:
    """The clock changes of the jobs' zones from ``start`` up to ``end``, the earliest first.

    Args:
        jobs: The jobs, by their schedules.
        start: From when.
        end: Up to when.
        zones: Zones that are of interest without jobs too.
    """
    of_zone: dict[str, list[Group]] = {zone: [] for zone in zones}
    for group in jobs:
        of_zone.setdefault(group.zone, []).append(group)
    found = [
        Night(zone, change, _touched(groups, change, zone))
        for zone, groups in of_zone.items()
        for change in _changes(zone, _full_hour(start), end)
        if start <= change.at < end
    ]
    return tuple(sorted(found, key=lambda night: (night.change.at, night.zone)))


def coming_nights(jobs: Groups, now: datetime, *zones: str) -> tuple[Night, ...]:
    """Those of the next year: in most zones two."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    within = nights(jobs, day, day + timedelta(days=366), *zones)
    return tuple(night for night in within if night.change.at > now)


def _touched(groups: Groups, change: ClockChange, zone: str) -> tuple[Touched, ...]:
    clock = parse_zone(zone)
    found = [
        Touched(name, effect)
        for group in groups
        if not isinstance(group.schedule, AfterRunSchedule)
        if (effect := effect_of(group.schedule, change, clock)) is not None
        for name in group.names
    ]
    return tuple(sorted(found, key=lambda one: one.job))


def _full_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


@functools.lru_cache(maxsize=256)
def _changes(zone: str, start: datetime, end: datetime) -> tuple[ClockChange, ...]:
    return tuple(clock_changes(parse_zone(zone), start - timedelta(seconds=1), end))
