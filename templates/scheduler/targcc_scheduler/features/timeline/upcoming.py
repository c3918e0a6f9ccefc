"""Upcoming slots of all jobs, and slots on nights when clocks change."""

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
from ...kernel.jobs.definition import JobDefinition
from ...kernel.queries import system
from ...kernel.queries.jobs import JobOverview
from ...kernel.queries.models import Run, run_of
from ...schedules.base import Schedule
from ...schedules.cron import CronSchedule
from ...schedules.dst import ClockChange, Effect, Kind, clock_changes, effect_of
from ...schedules.fields import numbers_in
from ...schedules.intervals import AfterRunSchedule, EverySchedule
from ...schedules.zones import parse_zone
from ..legacy import owners
from ..search.run_search import first_of

# The next runs of all jobs.


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


# Jobs put together by their schedule: of ten thousand jobs many have the same, which is then looked at once.


@dataclass(frozen=True, slots=True)
class Group:
    """The names of the jobs of one schedule and zone."""

    schedule: Schedule
    zone: str
    names: list[str]


Groups = Sequence[Group]


def grouped(jobs: Iterable[JobDefinition]) -> Groups:
    """The jobs that have a schedule, by it."""
    found: dict[Hashable, Group] = {}
    for job in jobs:
        if job.schedule is None:
            continue
        # The same text is the same expression, and Python keeps the hash of a text.
        schedule = job.schedule
        key = (schedule.text if type(schedule) is CronSchedule else schedule, job.timezone)
        group = found.get(key)
        if group is None:
            group = found[key] = Group(job.schedule, job.timezone, [])
        group.names.append(job.name)
    return tuple(found.values())


# The coming slots of all jobs, by minute and by hour; for thousands of schedules, whose slots are added up without making each.

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


# The nights when clocks change, and what becomes of the jobs' slots in them.


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
