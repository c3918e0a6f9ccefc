"""Windows Task Scheduler: the times of a task's triggers.

Source: Microsoft's description of the Task Scheduler schema. A start boundary without an offset is a time of the machine's clock; with
``Z`` or an offset it is an instant, and the trigger keeps its time in UTC. Microsoft does not describe clock changes: a time in a gap is
assumed to run right after it, and a time of a repeated hour once.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.wall_clock import reached_times, since_midnight, sunday_of

_DAY = timedelta(days=1)
_WEEK = 7
LAST = 32
"""In days of the month: the last day. In weeks of the month 5 is the last week."""
_LAST_WEEK = 5


class Rule(StrEnum):
    """The days of a trigger."""

    ONCE = "once"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    MONTHLY_WEEKDAY = "monthly by weekday"


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger by time.

    Attributes:
        rule: The rule of its days.
        start: ``StartBoundary``, the first day and the time of day; without an offset.
        is_utc: Whether ``start`` is in UTC instead of the machine's zone.
        end: ``EndBoundary``, in the same clock.
        interval: Days or weeks between two days.
        weekdays: Weekdays; 0 is Sunday.
        days: Days of the month; 32 is the last.
        months: Months.
        weeks: Weeks of the month; 5 is the last.
        every: The interval of a repetition.
        lasting: The duration of a repetition; None for a repetition without end.
    """

    rule: Rule
    start: datetime
    is_utc: bool = False
    end: datetime | None = None
    interval: int = 1
    weekdays: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset(range(1, 13))
    weeks: frozenset[int] = frozenset()
    every: timedelta | None = None
    lasting: timedelta | None = None

    def times(self) -> list[timedelta]:
        """Return the times of a day, from midnight; a repetition ends before its duration."""
        first = since_midnight(self.start.time())
        if self.every is None:
            return [first]
        count = -(-(self.lasting or _DAY) // self.every)
        return [first + number * self.every for number in range(count)]

    def names_day(self, day: date) -> bool:
        """Return whether the trigger names a day."""
        first = self.start.date()
        if day < first:
            return False
        weekday = day.isoweekday() % _WEEK
        if self.rule is Rule.ONCE:
            return day == first
        if self.rule is Rule.DAILY:
            return (day - first).days % self.interval == 0
        if self.rule is Rule.WEEKLY:
            weeks = (sunday_of(day) - sunday_of(first)).days // _WEEK
            return weekday in self.weekdays and weeks % self.interval == 0
        return day.month in self.months and self._names_in_month(day, weekday)

    def _names_in_month(self, day: date, weekday: int) -> bool:
        last = calendar.monthrange(day.year, day.month)[1]
        if self.rule is Rule.MONTHLY:
            return day.day in self.days or (LAST in self.days and day.day == last)
        is_last = day.day + _WEEK > last
        week = (day.day - 1) // _WEEK + 1
        in_week = week in self.weeks - {_LAST_WEEK} or (_LAST_WEEK in self.weeks and is_last)
        return weekday in self.weekdays and in_week

    def starts(self, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the instants in ``[start, end)`` at which the trigger fires, in order."""
        own_zone = ZoneInfo("UTC") if self.is_utc else zone
        if self.rule is Rule.ONCE and self.every is not None:
            yield from self._repeated(own_zone, start, end)
            return
        walls = self._walls(
            start.astimezone(own_zone).date() - 2 * _DAY, end.astimezone(own_zone).date() + _DAY
        )
        yield from reached_times(walls, own_zone, start, end)

    def _repeated(self, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the starts of a repetition from a single time: elapsed time, which no clock change moves."""
        assert self.every is not None
        first = self.start.replace(tzinfo=zone).astimezone(UTC)
        last = end if self.lasting is None else min(end, first + self.lasting)
        if self.end is not None:
            last = min(last, self.end.replace(tzinfo=zone).astimezone(UTC))
        turns = max(0, -((first - start) // self.every))
        moment = first + turns * self.every
        while moment < last:
            if moment >= start:
                yield moment
            moment += self.every

    def _walls(self, first: date, last: date) -> Iterator[datetime]:
        times = self.times()
        day = max(first, self.start.date())
        while day <= last:
            if self.names_day(day):
                midnight = datetime.combine(day, time())
                for offset in times:
                    if self.end is None or midnight + offset <= self.end:
                        yield midnight + offset
            day += _DAY


def task_starts(
    triggers: Sequence[Trigger], zone: ZoneInfo, start: datetime, end: datetime
) -> list[datetime]:
    """Return the instants in ``[start, end)`` at which a task starts that takes no time."""
    return sorted({moment for trigger in triggers for moment in trigger.starts(zone, start, end)})
