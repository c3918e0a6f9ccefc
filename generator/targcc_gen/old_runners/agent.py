"""SQL Server Agent: a schedule of msdb, and a simulation of the times at which Agent starts its job.

Sources: Microsoft's pages of ``sp_add_schedule`` and ``sysschedules``. Agent computes the next time of a schedule by the wall clock of
its server and starts the job when the clock has reached that time: a time in the gap of spring runs right after the gap, and nothing
runs in the repeated hour of autumn (measured by J. Pollock, 2021, and R. Talmage, 2004).
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import IntEnum
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.wall_clock import reached_times, since_midnight, sunday_of

_DAY = timedelta(days=1)
_WEEK = 7
_MONTHS = 12
_LAST = 16
_WEEKDAYS = range(2, 7)
_WEEKEND = (1, 7)


class Frequency(IntEnum):
    """``freq_type``."""

    ONCE = 1
    DAILY = 4
    WEEKLY = 8
    MONTHLY = 16
    MONTHLY_RELATIVE = 32
    AT_START = 64
    WHEN_IDLE = 128


class Subday(IntEnum):
    """``freq_subday_type``: the unit of the interval within a day."""

    ONCE = 1
    SECONDS = 2
    MINUTES = 4
    HOURS = 8


_UNITS = {
    Subday.SECONDS: timedelta(seconds=1),
    Subday.MINUTES: timedelta(minutes=1),
    Subday.HOURS: timedelta(hours=1),
}


class AgentScheduleError(ValueError):
    """A schedule with a value that msdb does not allow; the message names the column and the value."""


@dataclass(frozen=True, slots=True)
class AgentSchedule:
    """A row of ``sysschedules``, with dates and times for its numbers.

    Attributes:
        name: The name.
        enabled: Whether the schedule starts its job.
        frequency: ``freq_type``.
        interval: ``freq_interval``: days, a mask of weekdays from Sunday = 1, a day of the month, or a kind of day.
        subday: ``freq_subday_type``.
        subday_interval: ``freq_subday_interval``.
        relative: ``freq_relative_interval``: 1, 2, 4 and 8 for the first to the fourth, 16 for the last.
        factor: ``freq_recurrence_factor``: weeks or months between two times.
        first_day: ``active_start_date``.
        last_day: ``active_end_date``.
        start: ``active_start_time``: 90000 is 09:00.
        end: ``active_end_time``; earlier than ``start`` for a window over midnight.
    """

    name: str
    enabled: bool
    frequency: Frequency
    interval: int
    subday: Subday
    subday_interval: int
    relative: int
    factor: int
    first_day: date
    last_day: date
    start: time
    end: time

    @property
    def step(self) -> timedelta | None:
        """The interval within a day; None for one time a day."""
        unit = _UNITS.get(self.subday)
        return None if unit is None else unit * max(self.subday_interval, 1)

    def times(self) -> list[timedelta]:
        """Return the times of a day, from midnight; beyond 24 hours in a window over midnight."""
        start, end = since_midnight(self.start), since_midnight(self.end)
        step = self.step
        if step is None:
            return [start]
        if end < start:
            end += _DAY
        return [start + count * step for count in range((end - start) // step + 1)]

    def names_day(self, day: date) -> bool:
        """Return whether the schedule names a day."""
        if not self.first_day <= day <= self.last_day:
            return False
        if self.frequency is Frequency.ONCE:
            return day == self.first_day
        if self.frequency is Frequency.DAILY:
            return (day - self.first_day).days % max(self.interval, 1) == 0
        if self.frequency is Frequency.WEEKLY:
            weeks = (sunday_of(day) - sunday_of(self.first_day)).days // _WEEK
            is_named = bool(self.interval >> day.isoweekday() % _WEEK & 1)
            return is_named and weeks % max(self.factor, 1) == 0
        return self._names_month(day) and day == self._day_of(day)

    def _names_month(self, day: date) -> bool:
        months = (day.year - self.first_day.year) * _MONTHS + day.month - self.first_day.month
        return months % max(self.factor, 1) == 0

    def _day_of(self, month: date) -> date | None:
        """Return the day of a month that the schedule names; None for a month without such a day, and for no schedule by days."""
        if self.frequency is Frequency.MONTHLY:
            length = calendar.monthrange(month.year, month.month)[1]
            return month.replace(day=self.interval) if 1 <= self.interval <= length else None
        if self.frequency is not Frequency.MONTHLY_RELATIVE:
            return None
        length = calendar.monthrange(month.year, month.month)[1]
        days = [month.replace(day=number) for number in range(1, length + 1)]
        named = [day for day in days if self._is_kind(day.isoweekday() % _WEEK + 1)]
        if self.relative == _LAST:
            return named[-1]
        place = {1: 0, 2: 1, 4: 2, 8: 3}.get(self.relative, -1)
        return named[place] if 0 <= place < len(named) else None

    def _is_kind(self, weekday: int) -> bool:
        kinds = {8: True, 9: weekday in _WEEKDAYS, 10: weekday in _WEEKEND}
        return kinds.get(self.interval, weekday == self.interval)

    def walls(self, first: date, last: date) -> Iterator[datetime]:
        """Yield the wall times of the days from ``first`` to ``last``."""
        times = self.times()
        day = max(first - _DAY, self.first_day)
        last = min(last, self.last_day)
        while day <= last:
            if self.names_day(day):
                midnight = datetime.combine(day, time())
                yield from (midnight + offset for offset in times)
            day += _DAY


def agent_starts(
    schedules: list[AgentSchedule], zone: ZoneInfo, start: datetime, end: datetime
) -> list[datetime]:
    """Return the instants in ``[start, end)`` at which Agent starts a job that takes no time.

    A job that runs is not started again, so schedules that name the same time start it once.

    Args:
        schedules: The enabled schedules of the job.
        zone: The zone of the server.
        start: An aware instant.
        end: An aware instant.
    """
    first, last = (moment.astimezone(zone).date() for moment in (start, end))
    return sorted(
        {
            moment
            for schedule in schedules
            for moment in reached_times(schedule.walls(first - _DAY, last + _DAY), zone, start, end)
        }
    )


def read_schedule(values: Mapping[str, object], name: str) -> AgentSchedule:
    """Read a schedule from the columns of ``sysschedules``, which are also the parameters of ``sp_add_schedule``.

    Raises:
        AgentScheduleError: A value is no value of its column.
    """
    frequency = _number(values, "freq_type", 0)
    subday = _number(values, "freq_subday_type", 0) or 1
    try:
        kind, unit = Frequency(frequency), Subday(subday)
    except ValueError:
        raise AgentScheduleError(
            f"freq_type {frequency} with freq_subday_type {subday} is no schedule of Agent"
        ) from None
    return AgentSchedule(
        name,
        bool(_number(values, "enabled", 1)),
        kind,
        _number(values, "freq_interval", 0),
        unit,
        _number(values, "freq_subday_interval", 0),
        _number(values, "freq_relative_interval", 0),
        _number(values, "freq_recurrence_factor", 0),
        _date(values, "active_start_date", date(1990, 1, 1)),
        _date(values, "active_end_date", date(9999, 12, 31)),
        _time(values, "active_start_time", 0),
        _time(values, "active_end_time", 235959),
    )


def _number(values: Mapping[str, object], column: str, default: int) -> int:
    value = values.get(column)
    if value is None or value == "":
        return default
    try:
        return int(float(str(value)))
    except (ValueError, OverflowError):
        raise AgentScheduleError(f'{column} is "{value}", which is no whole number') from None


def _date(values: Mapping[str, object], column: str, default: date) -> date:
    number = _number(values, column, 0)
    if number == 0:
        return default
    try:
        return date(number // 10000, number // 100 % 100, number % 100)
    except ValueError:
        raise AgentScheduleError(f"{column} is {number}, which is no date YYYYMMDD") from None


def _time(values: Mapping[str, object], column: str, default: int) -> time:
    number = _number(values, column, default)
    try:
        return time(number // 10000, number // 100 % 100, number % 100)
    except ValueError:
        raise AgentScheduleError(f"{column} is {number}, which is no time HHMMSS") from None
