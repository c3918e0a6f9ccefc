"""Where another scheduler's own reading of an expression runs at other times than ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

from targcc_scheduler.schedules import CronError, CronSchedule, convert
from targcc_scheduler.schedules.clocks.changes import clock_changes

_FIELDS = 5
_DAY_OF_MONTH, _DAY_OF_WEEK = 2, 4


@dataclass(frozen=True, slots=True)
class Difference:
    """A time at which only one of two readings runs.

    Attributes:
        moment: The time, with the offset of the zone.
        only: The dialect that runs then.
    """

    moment: datetime
    only: str


@dataclass(frozen=True, slots=True)
class Reading:
    """An expression as a scheduler itself reads it.

    Attributes:
        dialect: The scheduler's name.
        schedules: It runs when one of these does; vixie's "either day" takes two.
        skips_gaps: Whether a time that the clock leaves out is left out too.
    """

    dialect: str
    schedules: tuple[CronSchedule, ...]
    skips_gaps: bool = False

    def between(self, start: datetime, end: datetime, zone: tzinfo) -> set[datetime]:
        """Return the times from ``start`` up to, and not including, ``end``."""
        return {
            moment
            for schedule in self.schedules
            for moment in schedule.between(start, end, zone)
            if not self.skips_gaps or schedule.matches(moment)
        }

    def times_of(self, day: datetime) -> set[tuple[int, int, int]]:
        """Return the times of day at which it runs on a day, as the sets of its fields."""
        return {(s.second, s.minute, s.hour) for s in self.schedules if s.matches_day(day)}

    def describe(self) -> str:
        """Return it in words."""
        return ", or ".join(schedule.describe() for schedule in self.schedules)


def read_as(text: str, dialect: str) -> Reading:
    """Read an expression as the dialect's own scheduler does, whether or not ours can say it.

    Vixie cron's manual page, on clock changes of less than three hours: jobs at fixed times behave
    as ours do; jobs with ``*`` as minute or hour follow the real clock. NCrontab and Quartz say
    nothing that holds for every program that uses them: there our own rules are assumed.

    Raises:
        CronError: The dialect refuses it.
    """
    if dialect != "vixie":
        return Reading(dialect, (convert(text, dialect),))
    schedules = _vixie(text)
    fields = text.split()
    by_clock = len(fields) == _FIELDS and "*" in (fields[0][0], fields[1][0])
    by_clock = by_clock or text.strip().lower() == "@hourly"
    return Reading(dialect, tuple(replace(s, interval=by_clock) for s in schedules), by_clock)


def _vixie(text: str) -> tuple[CronSchedule, ...]:
    """Read as vixie does, "either day" as the two schedules that it is."""
    try:
        return (convert(text, "vixie"),)
    except CronError as refusal:
        fields = text.split()
        if len(fields) != _FIELDS:
            raise
        try:
            halves = [
                convert(
                    " ".join(
                        "*" if place == left_out else word for place, word in enumerate(fields)
                    ),
                    "vixie",
                )
                for left_out in (_DAY_OF_WEEK, _DAY_OF_MONTH)
            ]
        except CronError:
            raise refusal from None
        return tuple(halves)


def differences(
    ours: CronSchedule, other: Reading, zone: tzinfo, start: datetime, end: datetime
) -> Iterator[Difference]:
    """Yield the times in ``[start, end)`` at which one reading runs and the other does not, in order.

    Days on which both name the same times are not walked, except around a clock change.
    """
    own = Reading("cronos", (ours,))
    nights = list(clock_changes(zone, start - timedelta(days=2), end + timedelta(days=2)))
    midnights = list(CronSchedule.parse("0 0 * * *").between(start, end, zone))
    bounds = [start, *(midnight for midnight in midnights if midnight > start), end]
    for first, last in pairwise(bounds):
        day = first.astimezone(zone)
        if own.times_of(day) != other.times_of(day):
            yield from _differ(own, other, zone, first, last)
            continue
        for night in nights:
            reach = 2 * abs(night.size)
            low, high = max(first, night.at - reach), min(last, night.at + reach)
            if low < high:
                yield from _differ(own, other, zone, low, high)


def _differ(
    own: Reading, other: Reading, zone: tzinfo, start: datetime, end: datetime
) -> Iterator[Difference]:
    ours, theirs = own.between(start, end, zone), other.between(start, end, zone)
    for moment in sorted(ours ^ theirs):
        yield Difference(moment, own.dialect if moment in ours else other.dialect)
