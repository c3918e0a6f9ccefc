"""Cron schedules: an expression, and the search for the times it names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, tzinfo
from functools import cached_property

from .base import Schedule
from .dialects import CRONOS, dialect_named
from .fields import CronFields, highest, lowest, month_length
from .parser import read
from .words import describe, normal_form
from .zones import (
    SECOND,
    Zone,
    as_zone,
    naive,
    offset_of,
    overlap_around,
    pin,
    resolve,
    wall_clock,
)


@dataclass(frozen=True)
class CronSchedule(CronFields, Schedule):
    """A cron expression, read by ``CronSchedule.parse``. Two are equal when they mean the same.

    The attributes are those of ``CronFields``.
    """

    @classmethod
    def parse(
        cls, text: str, *, dialect: str = "cronos", seconds: bool | None = None
    ) -> CronSchedule:
        """Read an expression.

        Args:
            text: Five fields, six with the seconds first, or a macro such as ``@daily``.
            dialect: How to read it; see ``convert``.
            seconds: True: six fields only; False: five only; None: either. Cronos only.

        Raises:
            CronError: With the column of the error and what is allowed there.
        """
        reader = dialect_named(dialect)
        if reader is not CRONOS or seconds is None:
            return read(cls, text, reader, reader.counts)
        return read(cls, text, reader, (6,) if seconds else (5,))

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first time later than ``after``, or at it when ``inclusive``; or None.

        As in Cronos, ``inclusive`` does not find a time that a gap has moved there.
        """
        zone = as_zone(zone)
        try:
            here = wall_clock(after, zone)
            start = here.replace(tzinfo=None, microsecond=0, fold=0)
            if not inclusive or here.microsecond:
                start += SECOND
            if (self.interval or here.fold) and (overlap := overlap_around(here)):
                return self._next_in_overlap(here, start, overlap)
            found = self._first_from(start)
            return None if found is None else resolve(found, zone)
        except OverflowError:  # the end of the calendar
            return None

    def _next_in_overlap(
        self, here: datetime, start: datetime, overlap: tuple[datetime, datetime]
    ) -> datetime | None:
        """Search the rest of a first pass, the second pass, and then the time after it."""
        zone = here.tzinfo
        assert zone is not None
        again, end = overlap
        if not here.fold:
            found = self._first_from(start)
            if found is not None and found < end:
                return pin(found.replace(tzinfo=zone))
            start = again
        if self.interval:
            found = self._first_from(start)
            if found is not None and found < end:
                return pin(found.replace(tzinfo=zone, fold=1))
        found = self._first_from(end)
        return None if found is None else resolve(found, zone)

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the last of the times that ``iter`` yields earlier than ``before``; or None."""
        zone = as_zone(zone)
        try:
            return self._previous(before, zone)
        except OverflowError:  # the beginning of the calendar
            return None

    def _previous(self, before: datetime, zone: tzinfo) -> datetime | None:
        here = wall_clock(before, zone)
        local = here.replace(tzinfo=None, fold=0)
        if here.fold and (overlap := overlap_around(here)):
            found = self._last_before(local)
            if self.interval and found is not None and found >= overlap[0]:
                return pin(found.replace(tzinfo=zone, fold=1))
            local = overlap[1]
        while (found := self._last_before(local)) is not None:
            moment = resolve(found, zone)
            again = pin(found.replace(tzinfo=zone, fold=1))
            if self.interval and moment < again < before:
                return again
            if moment < before:
                return moment
            # `before` ends the gap that `found` fell into: go on from where the gap begins.
            local = moment.astimezone(UTC).replace(tzinfo=None) + offset_of(
                found.replace(tzinfo=zone)
            )
        return None

    def matches(self, local: datetime) -> bool:
        """Whether a wall-clock time is one of its times, by its fields alone."""
        clock = self.second >> local.second & self.minute >> local.minute & self.hour >> local.hour
        return bool(clock & 1) and self.matches_day(local)

    def matches_day(self, day: date) -> bool:
        """Whether it has times on a day."""
        return bool(self._days(day.year, day.month) >> day.day & 1)

    # Searching the calendar, by wall clock.

    @cached_property
    def _later(self) -> tuple[list[int], list[int], list[int]]:
        """For second, minute and hour: the first value at or after each number, or -1."""
        return (_later(self.second, 60), _later(self.minute, 60), _later(self.hour, 24))

    @cached_property
    def _earliest(self) -> tuple[int, int, int]:
        """The first time of day that matches."""
        return lowest(self.hour), lowest(self.minute), lowest(self.second)

    @cached_property
    def _latest(self) -> tuple[int, int, int]:
        """The last time of day that matches."""
        return highest(self.hour), highest(self.minute), highest(self.second)

    @cached_property
    def _months(self) -> dict[int, int]:
        """The days that match, by a month's first weekday and length; filled when first needed."""
        return {}

    def _days(self, year: int, month: int) -> int:
        """Return the days of a month that match, as bits."""
        if not self.month >> month & 1:
            return 0
        first = date(year, month, 1).isoweekday() % 7
        length = month_length(year, month)
        days = self._months.get(first * 32 + length)
        if days is None:
            days = self._months[first * 32 + length] = self.matching_days(first, length)
        return days

    def _first_from(self, start: datetime) -> datetime | None:
        """Return the first matching wall-clock time at or after ``start``."""
        year, month, day = start.year, start.month, start.day
        days = self._days(year, month) >> day
        if days & 1:
            found = self._clock_from(start.hour, start.minute, start.second)
            if found is not None:
                return naive(year, month, day, *found)
        if days := days >> 1:
            day += 1 + lowest(days)
        elif not self.reachable:
            return None
        else:
            while not days:
                year, month = (year + month // 12, month % 12 + 1)
                if year > MAXYEAR:
                    return None
                days = self._days(year, month)
            day = lowest(days)
        return naive(year, month, day, *self._earliest)

    def _clock_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """Return the first matching time of day at or after the given one."""
        seconds, minutes, hours = self._later
        if hours[hour] == hour:
            if minutes[minute] == minute and seconds[second] >= 0:
                return hour, minute, seconds[second]
            if minutes[minute + 1] >= 0:
                return hour, minutes[minute + 1], seconds[0]
        if hours[hour + 1] >= 0:
            return hours[hour + 1], minutes[0], seconds[0]
        return None

    def _last_before(self, end: datetime) -> datetime | None:
        """Return the last matching wall-clock time before ``end``."""
        end = end.replace(microsecond=0) if end.microsecond else end - SECOND
        year, month, day = end.year, end.month, end.day
        days = self._days(year, month)
        if days >> day & 1:
            found = self._clock_until(end.hour, end.minute, end.second)
            if found is not None:
                return naive(year, month, day, *found)
        days &= (1 << day) - 1
        if not days and not self.reachable:
            return None
        while not days:
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
            if year < MINYEAR:
                return None
            days = self._days(year, month)
        return naive(year, month, highest(days), *self._latest)

    def _clock_until(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """Return the last matching time of day at or before the given one."""
        if self.hour >> hour & 1:
            seconds = self.second & ((2 << second) - 1)
            if self.minute >> minute & 1 and seconds:
                return hour, minute, highest(seconds)
            if minutes := self.minute & ((1 << minute) - 1):
                return hour, highest(minutes), self._latest[2]
        if hours := self.hour & ((1 << hour) - 1):
            return highest(hours), *self._latest[1:]
        return None

    @cached_property
    def normal(self) -> str:
        """The expression in its shortest common form; reading it gives an equal schedule."""
        return normal_form(self)

    def __str__(self) -> str:
        return self.text

    def describe(self) -> str:
        """Return the schedule in words that continue "runs ...", as in "at 02:00 every day"."""
        return describe(self)


def convert(text: str, dialect: str) -> CronSchedule:
    """Return the schedule equal to an expression of another scheduler.

    The dates and times are equal. What the other scheduler does on the two nights a year when the
    clock changes is not part of its expression: the rules of this package hold.

    Args:
        text: The expression.
        dialect: ``cronos`` (Hangfire), ``ncrontab`` (NCrontab 3, Azure Functions), ``vixie`` (Unix
            cron) or ``quartz``.

    Raises:
        CronError: The dialect refuses it, or no expression of ours is equal; it says why.
    """
    return CronSchedule.parse(text, dialect=dialect)


def _later(bits: int, size: int) -> list[int]:
    """Return, for each number up to ``size``, the first value at or after it, or -1."""
    places = []
    for n in range(size + 1):
        rest = bits >> n
        places.append(n + lowest(rest) if rest else -1)
    return places
