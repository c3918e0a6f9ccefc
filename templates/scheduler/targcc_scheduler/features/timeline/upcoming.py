"""Upcoming slots of all jobs, and their changes on nights with a clock change."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import WAITING
from ...db.tables import job_run
from ...kernel import job_owner as owners
from ...kernel.jobs.definition import JobDefinition
from ...kernel.queries import system
from ...kernel.queries.models import Run, run_of
from ...kernel.queries.run_search import first_of
from ...schedules.base import Schedule
from ...schedules.cron import CronSchedule
from ...schedules.dst import ClockChange, Effect, Kind, clock_changes, effect_of
from ...schedules.fields import numbers_in
from ...schedules.intervals import AfterRunSchedule, EverySchedule
from ...schedules.zones import parse_zone

# Jobs grouped by schedule: many of ten thousand jobs share a schedule, which is then evaluated once.


@dataclass(frozen=True, slots=True)
class Group:
    """Names of the jobs with one schedule and zone."""

    schedule: Schedule
    zone: str
    names: list[str]


Groups = Sequence[Group]


def grouped(jobs: Iterable[JobDefinition]) -> Groups:
    """Group the jobs with a schedule by schedule and zone."""
    groups: dict[Hashable, Group] = {}
    for job in jobs:
        if job.schedule is None:
            continue
        # Equal texts are equal expressions, and Python caches the hash of a text.
        schedule = job.schedule
        key = (schedule.text if type(schedule) is CronSchedule else schedule, job.timezone)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(job.schedule, job.timezone, [])
        group.names.append(job.name)
    return tuple(groups.values())


# Coming slots of all jobs by minute and hour. Slots of thousands of schedules are counted without creating each slot.

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_MOST_WAITING = 200
_MOST_CROWDS = 28
_CROWD, _CROWD_ALL = 3, 8
"""Minimal number of jobs in a crowded minute: jobs that are not frequent, and all jobs."""


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute with the jobs that have a slot in it."""

    at: datetime
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Crowd:
    """A minute with many slots: names of listed jobs, and number of frequent jobs."""

    at: datetime
    jobs: tuple[str, ...]
    frequent: int

    @property
    def number(self) -> int:
        """Number of jobs with a slot in the minute."""
        return len(self.jobs) + self.frequent


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Slots and runs from ``start`` to ``end``.

    Args:
        minutes: Minutes with slots of jobs that are not frequent, in order.
        hours: Number of slots in each hour, from the full hour of ``start``, including frequent jobs.
        frequent: Jobs with more slots a day than are listed, and their number of slots.
        crowded: The fullest minutes, in order.
        paused: Jobs that are paused without an end.
        elsewhere: Jobs that the old server runs.
        after_run: Jobs with slots relative to their last run; these slots are unknown.
        waiting: Delayed and retrying runs that are due in this range.
    """

    start: datetime
    end: datetime
    minutes: tuple[Minute, ...]
    hours: tuple[int, ...]
    frequent: Mapping[str, int]
    crowded: tuple[Crowd, ...]
    paused: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    after_run: tuple[str, ...] = ()
    waiting: tuple[Run, ...] = ()

    @property
    def number(self) -> int:
        """Total number of slots."""
        return sum(self.hours)


async def plan(
    connection: AsyncConnection,
    jobs: Groups,
    now: datetime,
    *,
    start: datetime,
    end: datetime,
    listed: int = 24,
) -> Plan:
    """Return the plan of the given jobs from ``start``, or from now if ``start`` has passed.

    Args:
        connection: A connection to read with.
        jobs: The jobs, grouped by schedule.
        now: The current instant.
        start: Start of the range.
        end: End of the range.
        listed: Only count jobs with more slots a day than this.
    """
    start = max(start, now)
    paused = await system.pauses(connection, now)
    elsewhere = await owners.not_ours(connection)
    later = {name: pause.until for name, pause in paused.items() if name not in elsewhere}
    counted = planned(jobs, start, end, listed=listed, later={**later, **dict.fromkeys(elsewhere)})
    return Plan(
        start=start,
        end=end,
        minutes=counted.in_order(),
        hours=tuple(counted.hours),
        frequent=dict(sorted(counted.frequent.items())),
        crowded=counted.crowds(),
        paused=tuple(name for name in counted.asleep if name not in elsewhere),
        elsewhere=tuple(name for name in counted.asleep if name in elsewhere),
        after_run=tuple(sorted(counted.after_run)),
        waiting=await _waiting(connection, start, end),
    )


async def _waiting(connection: AsyncConnection, start: datetime, end: datetime) -> tuple[Run, ...]:
    rows = await connection.execute(_due(), {"start": start, "end": end})
    return tuple(run_of(row) for row in rows)


@cache
def _due() -> sa.Executable:
    """Build the statement for waiting runs. Cached: building takes longer than executing."""
    c = job_run.c
    due = c.DueAt >= sa.bindparam("start"), c.DueAt < sa.bindparam("end")
    parts = [sa.select(job_run).where(c.State == state, *due) for state in sorted(WAITING)]
    return first_of(parts, [c.DueAt.asc(), c.Id.asc()], _MOST_WAITING)


def planned(
    jobs: Groups,
    start: datetime,
    end: datetime,
    *,
    listed: int,
    later: Mapping[str, datetime | None] | None = None,
) -> Counted:
    """Count the slots of jobs.

    Args:
        jobs: The jobs, grouped by schedule.
        start: Start of the range.
        end: End of the range.
        listed: Only count jobs with more slots a day than this.
        later: Jobs that begin after ``start``; ``None`` means not at all.
    """
    later = later or {}
    counted = Counted(start.astimezone(UTC), end.astimezone(UTC), listed)
    for group in jobs:
        zone = parse_zone(group.zone)
        for name in later.keys() & group.names:
            begins = later[name]
            if begins is None:
                counted.asleep.append(name)
            else:
                counted.add(group.schedule, zone, max(begins, counted.start), [name])
        awake = [name for name in group.names if name not in later]
        if awake:
            counted.add(group.schedule, zone, counted.start, awake)
    counted.asleep.sort()
    return counted


@dataclass(slots=True)
class Counted:
    """Counter of slots. Minutes and hours count from the full hour of ``start``."""

    start: datetime
    end: datetime
    listed: int
    minutes: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    hours: list[int] = field(init=False)
    frequent: dict[str, int] = field(default_factory=dict)
    after_run: list[str] = field(default_factory=list)
    asleep: list[str] = field(default_factory=list)
    _base: datetime = field(init=False)
    _often: list[tuple[Schedule, ZoneInfo, int]] = field(default_factory=list)
    _days: dict[ZoneInfo, list[_Day]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._base = self.start.replace(minute=0, second=0, microsecond=0)
        self.hours = [0] * max(-(-(self.end - self._base) // _HOUR), 0)

    def add(self, schedule: Schedule, zone: ZoneInfo, begins: datetime, names: list[str]) -> None:
        """Add the slots of jobs with one schedule."""
        if isinstance(schedule, AfterRunSchedule):
            self.after_run += names
        elif self._is_frequent(schedule):
            self._often.append((schedule, zone, len(names)))
            number = 0
            for hour, slots in self._by_hour(schedule, zone, begins):
                self.hours[hour] += slots * len(names)
                number += slots
            self.frequent |= dict.fromkeys(names, number)
        else:
            for minute in self._each(schedule, zone, begins):
                self.minutes[minute] += names
                self.hours[minute // 60] += len(names)

    def in_order(self) -> tuple[Minute, ...]:
        """Return the minutes with slots, in order."""
        return tuple(
            Minute(self._base + minute * _MINUTE, tuple(sorted(self.minutes[minute])))
            for minute in sorted(self.minutes)
        )

    def crowds(self) -> tuple[Crowd, ...]:
        """Return the fullest minutes, in order."""
        full = heapq.nlargest(
            _MOST_CROWDS, self.minutes.items(), key=lambda one: (len(one[1]), -one[0])
        )
        crowds = (
            Crowd(at, tuple(sorted(names)), self._frequent_at(at))
            for at, names in ((self._base + n * _MINUTE, names) for n, names in sorted(full))
        )
        return tuple(one for one in crowds if len(one.jobs) >= _CROWD or one.number >= _CROWD_ALL)

    def _frequent_at(self, at: datetime) -> int:
        """Count the frequent jobs with a slot in a minute."""
        return sum(
            number
            for schedule, zone, number in self._often
            if next(schedule.between(at, at + _MINUTE, zone), None) is not None
        )

    def _is_frequent(self, schedule: Schedule) -> bool:
        if isinstance(schedule, CronSchedule):
            seconds = schedule.second.bit_count()
            return seconds * schedule.minute.bit_count() * schedule.hour.bit_count() > self.listed
        return isinstance(schedule, EverySchedule) and _DAY / schedule.interval > self.listed

    def _by_hour(
        self, schedule: Schedule, zone: ZoneInfo, begins: datetime
    ) -> Iterator[tuple[int, int]]:
        """Yield the number of slots of a frequent schedule in each hour."""
        if isinstance(schedule, EverySchedule):
            yield from self._even(schedule, zone, begins)
            return
        assert isinstance(schedule, CronSchedule)
        slots_per_hour = schedule.second.bit_count() * schedule.minute.bit_count()
        hours = numbers_in(schedule.hour)
        for day in self._days_of(zone):
            inside = day.plain and begins <= day.begins and day.ends <= self.end
            if inside and not day.minute % 60:
                if schedule.matches_day(day.day):
                    yield from (((day.minute // 60) + hour, slots_per_hour) for hour in hours)
            else:
                since, until = max(begins, day.begins), min(day.ends, self.end)
                for slot in schedule.between(since, until, zone):
                    yield (slot - self._base) // _HOUR, 1

    def _even(
        self, schedule: EverySchedule, zone: ZoneInfo, begins: datetime
    ) -> Iterator[tuple[int, int]]:
        """Yield the number of an interval's slots in each hour. The slots are evenly spaced, also across clock changes."""
        first = schedule.next(begins, zone, inclusive=True)
        if first is None or first >= self.end:
            return
        before = 0
        for hour in range((first - self._base) // _HOUR, len(self.hours)):
            until = min(self._base + (hour + 1) * _HOUR, self.end)
            up_to = -(-(until - first) // schedule.interval)
            yield hour, up_to - before
            before = up_to

    def _each(self, schedule: Schedule, zone: ZoneInfo, begins: datetime) -> Iterator[int]:
        """Yield the minutes of a schedule's slots."""
        if not isinstance(schedule, CronSchedule) or schedule.second.bit_count() > 1:
            most = self.listed * ((self.end - self.start) // _DAY + 2)
            for slot in itertools.islice(schedule.between(begins, self.end, zone), most):
                yield (slot - self._base) // _MINUTE
            return
        clock = _times_of_day(schedule.hour, schedule.minute)
        first = -(-(begins - self._base) // _MINUTE)
        last = -(-(self.end - self._base) // _MINUTE)
        if schedule.second > 1:  # slots within a minute: include the first, partial minute
            first = (begins - self._base) // _MINUTE
        for day in self._days_of(zone):
            if not day.plain:
                since, until = max(begins, day.begins), min(day.ends, self.end)
                for slot in schedule.between(since, until, zone):
                    yield (slot - self._base) // _MINUTE
            elif schedule.matches_day(day.day):
                yield from (n for m in clock if first <= (n := day.minute + m) < last)

    def _days_of(self, zone: ZoneInfo) -> list[_Day]:
        """Return the days of a zone that overlap the range."""
        if zone not in self._days:
            first, last = (at.astimezone(zone).date() for at in (self.start, self.end))
            every = (first + timedelta(days=n) for n in range((last - first).days + 1))
            self._days[zone] = [_Day.of(day, zone, self._base) for day in every]
        return self._days[zone]


@dataclass(frozen=True, slots=True)
class _Day:
    """A day of a zone.

    Args:
        minute: Start of the day, in minutes from the base.
        plain: Whether the day has 24 hours at one offset and begins at a full minute.
    """

    day: date
    begins: datetime
    ends: datetime
    minute: int
    plain: bool

    @classmethod
    def of(cls, day: date, zone: ZoneInfo, base: datetime) -> _Day:
        """Build the day for a calendar date."""
        begins, ends = (
            datetime(
                calendar_day.year, calendar_day.month, calendar_day.day, tzinfo=zone
            ).astimezone(UTC)
            for calendar_day in (day, day + timedelta(days=1))
        )
        from_base = begins - base
        plain = ends - begins == _DAY and not from_base % _MINUTE
        return cls(day, begins, ends, from_base // _MINUTE, plain)


@functools.lru_cache(maxsize=4096)
def _times_of_day(hours: int, minutes: int) -> tuple[int, ...]:
    """Return the minutes of a day that match hour and minute fields."""
    numbers = numbers_in(minutes)
    return tuple(hour * 60 + minute for hour in numbers_in(hours) for minute in numbers)


# Nights with a clock change, and the effects on jobs' slots.


@dataclass(frozen=True, slots=True)
class Touched:
    """A job with slots that a clock change moves, skips or repeats."""

    job: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class Night:
    """A night with a clock change in a zone.

    Args:
        zone: The zone.
        change: Instant of the change, with old and new offset.
        jobs: Affected jobs of the zone, sorted.
    """

    zone: str
    change: ClockChange
    jobs: tuple[Touched, ...]

    @property
    def effects(self) -> list[tuple[Kind, str, list[str]]]:
        """Group the affected jobs by effect: kind, words and job names."""
        jobs_by_effect: dict[tuple[Kind, str], list[str]] = {}
        for touched in self.jobs:
            jobs_by_effect.setdefault((touched.effect.kind, touched.effect.words), []).append(
                touched.job
            )
        return [(*key, jobs_by_effect[key]) for key in sorted(jobs_by_effect)]


def nights(jobs: Groups, start: datetime, end: datetime, *zones: str) -> tuple[Night, ...]:
    """Return the clock changes in the jobs' zones from ``start`` to ``end``, earliest first.

    Args:
        jobs: The jobs, grouped by schedule.
        start: Start of the range.
        end: End of the range.
        zones: Further zones to include, with or without jobs.
    """
    of_zone: dict[str, list[Group]] = {zone: [] for zone in zones}
    for group in jobs:
        of_zone.setdefault(group.zone, []).append(group)
    changed_nights = [
        Night(zone, change, _touched(groups, change, zone))
        for zone, groups in of_zone.items()
        for change in _changes(zone, _full_hour(start), end)
        if start <= change.at < end
    ]
    return tuple(sorted(changed_nights, key=lambda night: (night.change.at, night.zone)))


def coming_nights(jobs: Groups, now: datetime, *zones: str) -> tuple[Night, ...]:
    """Return the clock changes of the next year; most zones with daylight saving time have two."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    within = nights(jobs, day, day + timedelta(days=366), *zones)
    return tuple(night for night in within if night.change.at > now)


def _touched(groups: Groups, change: ClockChange, zone: str) -> tuple[Touched, ...]:
    clock = parse_zone(zone)
    touched = [
        Touched(name, effect)
        for group in groups
        if not isinstance(group.schedule, AfterRunSchedule)
        if (effect := effect_of(group.schedule, change, clock)) is not None
        for name in group.names
    ]
    return tuple(sorted(touched, key=lambda one: one.job))


def _full_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


@functools.lru_cache(maxsize=256)
def _changes(zone: str, start: datetime, end: datetime) -> tuple[ClockChange, ...]:
    return tuple(clock_changes(parse_zone(zone), start - timedelta(seconds=1), end))
