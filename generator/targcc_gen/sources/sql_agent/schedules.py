"""Translate Agent's schedules: cron texts where one names the same times, else intervals of days from an anchor."""

from __future__ import annotations

import calendar
from collections import defaultdict
from datetime import datetime
from functools import partial
from typing import Any

from targcc_gen.old_runners.agent import AgentSchedule, Frequency
from targcc_gen.sources.drafts import Refused
from targcc_gen.sources.schedules import (
    NAMES,
    Days,
    cron_texts,
    day_intervals,
    field,
    weekdays_field,
)

_LAST = 16
_ORDINALS = {1: 1, 2: 2, 4: 3, 8: 4}
_ANY_DAY, _WORKDAY, _WEEKEND = 8, 9, 10


def translated(schedule: AgentSchedule) -> list[dict[str, Any]]:
    """Return the schedules of a job's spec that name the times of Agent's schedule; several have no time in common.

    Raises:
        Refused: No few schedules name these times; the reason names the schedule.
    """
    try:
        return _translated(schedule)
    except Refused as refused:
        raise Refused(f'schedule "{schedule.name}": {refused}') from None


def _translated(schedule: AgentSchedule) -> list[dict[str, Any]]:
    if schedule.frequency in {Frequency.AT_START, Frequency.WHEN_IDLE}:
        when = "Agent starts" if schedule.frequency is Frequency.AT_START else "the CPU is idle"
        raise Refused(f"it runs when {when}, which is no time")
    if schedule.frequency is Frequency.ONCE:
        return [{"at": datetime.combine(schedule.first_day, schedule.start)}]
    daily, weekly = (schedule.frequency is each for each in (Frequency.DAILY, Frequency.WEEKLY))
    if (daily and schedule.interval > 1) or (weekly and schedule.factor > 1):
        days = schedule.interval if daily else 7 * schedule.factor
        return day_intervals(schedule.first_day, days, schedule.names_day, schedule.times())
    return cron_texts(schedule.times(), partial(_days, schedule))


# Days.


def _days(schedule: AgentSchedule, shift: int) -> list[Days]:
    """Return the fields for the days of a schedule, or for the days after them (``shift`` 1)."""
    if schedule.frequency is Frequency.DAILY:
        return [("*", "*", "*")]
    if schedule.frequency is Frequency.WEEKLY:
        weekdays = {(day + shift) % 7 for day in range(7) if schedule.interval >> day & 1}
        return [("*", "*", weekdays_field(weekdays))] if weekdays else []
    if shift:
        raise Refused("it has a window over midnight on days of the month")
    months = _months(schedule)
    if schedule.frequency is Frequency.MONTHLY:
        return [(str(schedule.interval), months, "*")]
    return [(day, months, weekday) for day, weekday in _relative(schedule)]


def _months(schedule: AgentSchedule) -> str:
    factor = max(schedule.factor, 1)
    if factor == 1:
        return "*"
    if 12 % factor:
        raise Refused(f"it runs every {factor} months, which moves from year to year")
    first = schedule.first_day.month
    return field([(first - 1 + count) % 12 + 1 for count in range(0, 12, factor)], 13)


def _relative(schedule: AgentSchedule) -> list[tuple[str, str]]:
    """Return pairs of day of the month and weekday, for days such as the second Tuesday or the first weekday."""
    kind, place = schedule.interval, schedule.relative
    if place == _LAST:
        return _last(kind)
    number = _ORDINALS.get(place)
    if number is None or not 1 <= kind <= _WEEKEND:
        raise Refused(f"freq_relative_interval {place} of kind {kind} is no day")
    if kind <= 7:  # noqa: PLR2004 - a weekday
        return [("*", f"{NAMES[kind - 1]}#{number}")]
    if kind == _ANY_DAY:
        return [(str(number), "*")]
    inside = frozenset(range(1, 6)) if kind == _WORKDAY else frozenset({0, 6})
    return _nth(inside, number)


def _last(kind: int) -> list[tuple[str, str]]:
    if 1 <= kind <= 7:  # noqa: PLR2004 - a weekday
        return [("*", f"{NAMES[kind - 1]}L")]
    if kind == _ANY_DAY:
        return [("L", "*")]
    if kind == _WORKDAY:
        return [("LW", "*")]
    raise Refused("no cron text names the last weekend day of a month")


def _nth(inside: frozenset[int], number: int) -> list[tuple[str, str]]:
    """Return the pairs for the nth day among these weekdays: whether a day is that day follows from its date and weekday alone."""
    days_by_weekday: dict[int, set[int]] = defaultdict(set)
    for first in range(7):  # the weekday of the first of the month
        named = [day for day in range(1, calendar.monthrange(2024, 1)[1] + 1) if (first + day - 1) % 7 in inside]  # fmt: skip
        day = named[number - 1]
        days_by_weekday[(first + day - 1) % 7].add(day)
    alike: dict[frozenset[int], set[int]] = defaultdict(set)
    for weekday, days in days_by_weekday.items():
        alike[frozenset(days)].add(weekday)
    return [(field(days, 32), weekdays_field(weekdays)) for days, weekdays in alike.items()]
