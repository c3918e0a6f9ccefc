"""The coming slots of all jobs, by minute and by hour; for thousands of schedules, whose slots are added up without making each."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import WAITING
from ...schedules import AfterRunSchedule, CronSchedule, EverySchedule, Schedule, parse_zone
from ...schedules.fields import numbers_in
from ...storage.owners import rows as owners
from ...storage.tables import job_run
from .. import system
from ..finding.page import first_of
from ..models import Run, run_of
from .groups import Groups

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_MOST_WAITING = 200
_MOST_CROWDS = 28
_CROWD, _CROWD_ALL = 3, 8
"""So many jobs in one minute are named as a crowd: of those that are not frequent, and of all."""


@dataclass(frozen=True, slots=True)
class Minute:
    """The jobs that have a slot in one minute."""

    at: datetime
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Crowd:
    """A minute with many slots: of jobs that are listed, and of frequent ones."""

    at: datetime
    jobs: tuple[str, ...]
    frequent: int

    @property
    def number(self) -> int:
        """How many jobs start."""
        return len(self.jobs) + self.frequent


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What comes from ``start`` up to ``end``.

    Args:
        minutes: The minutes with slots of jobs that are not frequent, in order.
        hours: How many slots begin in each hour from the full hour of ``start``, frequent jobs too.
        frequent: The jobs with more slots a day than are listed, and how many they have.
        crowded: The fullest minutes, in order.
        paused: The jobs whose slots pass, since somebody paused them without an end.
        elsewhere: The jobs that the old server runs.
        after_run: The jobs whose slots are counted from their last run, and so are not known.
        waiting: Runs that are due in this time: delayed ones, and those that are tried again.
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
        """How many slots come."""
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
    """What comes of these jobs from ``start``, or from now if that is later.

    Args:
        connection: To read by.
        jobs: The jobs, by their schedules.
        now: The instant it is.
        start: From when; slots that have passed are no plan.
        end: Up to when.
        listed: Jobs with more slots than this in a day are only counted.
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
    """The statement for them; it is kept, since to build it takes longer than to answer it."""
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
    """The slots of jobs, added up.

    Args:
        jobs: The jobs, by their schedules.
        start: From when.
        end: Up to when.
        listed: Jobs with more slots than this in a day are only counted.
        later: Jobs that begin later than ``start``; ``None`` is not at all.
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
    """Slots while they are added up; instants are minutes from the full hour of ``start``."""

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
        """Add the slots of jobs of one schedule."""
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
        """The minutes with slots."""
        return tuple(
            Minute(self._base + minute * _MINUTE, tuple(sorted(self.minutes[minute])))
            for minute in sorted(self.minutes)
        )

    def crowds(self) -> tuple[Crowd, ...]:
        """The fullest minutes, in order."""
        full = heapq.nlargest(
            _MOST_CROWDS, self.minutes.items(), key=lambda one: (len(one[1]), -one[0])
        )
        found = (
            Crowd(at, tuple(sorted(names)), self._frequent_at(at))
            for at, names in ((self._base + n * _MINUTE, names) for n, names in sorted(full))
        )
        return tuple(one for one in found if len(one.jobs) >= _CROWD or one.number >= _CROWD_ALL)

    def _frequent_at(self, at: datetime) -> int:
        """How many frequent jobs have a slot in a minute."""
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
        """How many slots a frequent schedule has in each hour."""
        if isinstance(schedule, EverySchedule):
            yield from self._even(schedule, zone, begins)
            return
        assert isinstance(schedule, CronSchedule)
        each = schedule.second.bit_count() * schedule.minute.bit_count()
        hours = numbers_in(schedule.hour)
        for day in self._days_of(zone):
            inside = day.plain and begins <= day.begins and day.ends <= self.end
            if inside and not day.minute % 60:
                if schedule.matches_day(day.day):
                    yield from (((day.minute // 60) + hour, each) for hour in hours)
            else:
                since, until = max(begins, day.begins), min(day.ends, self.end)
                for slot in schedule.between(since, until, zone):
                    yield (slot - self._base) // _HOUR, 1

    def _even(
        self, schedule: EverySchedule, zone: ZoneInfo, begins: datetime
    ) -> Iterator[tuple[int, int]]:
        """The slots of an interval in each hour; they are evenly spaced, also where the clock changes."""
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
        """The minutes of a schedule's slots."""
        if not isinstance(schedule, CronSchedule) or schedule.second.bit_count() > 1:
            most = self.listed * ((self.end - self.start) // _DAY + 2)
            for slot in itertools.islice(schedule.between(begins, self.end, zone), most):
                yield (slot - self._base) // _MINUTE
            return
        clock = _times_of_day(schedule.hour, schedule.minute)
        first = -(-(begins - self._base) // _MINUTE)
        last = -(-(self.end - self._base) // _MINUTE)
        if schedule.second > 1:  # it begins within a minute
            first = (begins - self._base) // _MINUTE
        for day in self._days_of(zone):
            if not day.plain:
                since, until = max(begins, day.begins), min(day.ends, self.end)
                for slot in schedule.between(since, until, zone):
                    yield (slot - self._base) // _MINUTE
            elif schedule.matches_day(day.day):
                yield from (n for m in clock if first <= (n := day.minute + m) < last)

    def _days_of(self, zone: ZoneInfo) -> list[_Day]:
        """The days of a zone that this time touches."""
        if zone not in self._days:
            first, last = (at.astimezone(zone).date() for at in (self.start, self.end))
            every = (first + timedelta(days=n) for n in range((last - first).days + 1))
            self._days[zone] = [_Day.of(day, zone, self._base) for day in every]
        return self._days[zone]


@dataclass(frozen=True, slots=True)
class _Day:
    """A day of a zone.

    Args:
        minute: Where it begins, in minutes from the base.
        plain: Whether its clock stands at one offset all day.
    """

    day: date
    begins: datetime
    ends: datetime
    minute: int
    plain: bool

    @classmethod
    def of(cls, day: date, zone: ZoneInfo, base: datetime) -> _Day:
        """A day of the calendar."""
        begins, ends = (
            datetime(one.year, one.month, one.day, tzinfo=zone).astimezone(UTC)
            for one in (day, day + timedelta(days=1))
        )
        from_base = begins - base
        plain = ends - begins == _DAY and not from_base % _MINUTE
        return cls(day, begins, ends, from_base // _MINUTE, plain)


@functools.lru_cache(maxsize=4096)
def _times_of_day(hours: int, minutes: int) -> tuple[int, ...]:
    """The minutes of a day that an expression names."""
    each = numbers_in(minutes)
    return tuple(hour * 60 + minute for hour in numbers_in(hours) for minute in each)
