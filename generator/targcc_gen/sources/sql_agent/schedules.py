"""Translate Agent's schedules: cron texts where one names the same times, else intervals of days from an anchor."""

from __future__ import annotations

import calendar
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from targcc_gen.old_runners.agent import AgentSchedule, Frequency
from targcc_gen.sources.cron_fields import NAMES, clocks, field, weekdays_field
from targcc_gen.sources.drafts import Refused

_MOST = 4
"""The most schedules of this project that stand for a schedule of Agent."""
_DAY = timedelta(days=1)
_LAST = 16
_ORDINALS = {1: 1, 2: 2, 4: 3, 8: 4}
_ANY_DAY, _WORKDAY, _WEEKEND = 8, 9, 10

Days = tuple[str, str, str]
"""The fields of a cron text for days: day of the month, month, weekday."""


def translated(schedule: AgentSchedule) -> list[dict[str, Any]]:
    """Return the schedules of a job's spec that name the times of Agent's schedule; several have no time in common.

    Raises:
        Refused: No few schedules name these times.
    """
    if schedule.frequency in {Frequency.AT_START, Frequency.WHEN_IDLE}:
        when = "Agent starts" if schedule.frequency is Frequency.AT_START else "the CPU is idle"
        raise Refused(f'schedule "{schedule.name}" runs when {when}, which is no time')
    if schedule.frequency is Frequency.ONCE:
        return [{"at": datetime.combine(schedule.first_day, schedule.start)}]
    interval = schedule.frequency is Frequency.DAILY and schedule.interval > 1
    weeks = schedule.frequency is Frequency.WEEKLY and schedule.factor > 1
    fields = _intervals(schedule) if interval or weeks else _crons(schedule)
    if len(fields) > _MOST:
        step = schedule.step or _DAY
        raise Refused(
            f'schedule "{schedule.name}", every {step} within a day, takes {len(fields)} cron texts: split it, or choose a step that divides an hour'
        )
    if not fields:
        raise Refused(f'schedule "{schedule.name}" names no day')
    return fields


# Intervals of several days or weeks, from the first day.


def _intervals(schedule: AgentSchedule) -> list[dict[str, Any]]:
    days = schedule.interval if schedule.frequency is Frequency.DAILY else 7 * schedule.factor
    firsts = [
        schedule.first_day + count * _DAY
        for count in range(days)
        if schedule.names_day(schedule.first_day + count * _DAY)
    ]
    midnights = [datetime.combine(day, datetime.min.time()) for day in firsts]
    return [
        {"every": timedelta(days=days), "anchor": midnight + offset}
        for midnight in midnights
        for offset in schedule.times()
    ]


# Cron texts.


def _crons(schedule: AgentSchedule) -> list[dict[str, Any]]:
    times = schedule.times()
    texts = [
        f"{clock} {' '.join(days)}"
        for shift, offsets in ((0, [t for t in times if t < _DAY]), (1, [t - _DAY for t in times if t >= _DAY]))
        if offsets
        for days in _days(schedule, shift)
        for clock in clocks(offsets, schedule.name)
    ]  # fmt: skip
    return [{"cron": text} for text in texts]


# Days.


def _days(schedule: AgentSchedule, shift: int) -> list[Days]:
    """Return the fields for the days of a schedule, or for the days after them (``shift`` 1)."""
    if schedule.frequency is Frequency.DAILY:
        return [("*", "*", "*")]
    if schedule.frequency is Frequency.WEEKLY:
        weekdays = {(day + shift) % 7 for day in range(7) if schedule.interval >> day & 1}
        return [("*", "*", weekdays_field(weekdays))] if weekdays else []
    if shift:
        raise Refused(f'schedule "{schedule.name}" has a window over midnight on days of the month')
    months = _months(schedule)
    if schedule.frequency is Frequency.MONTHLY:
        return [(str(schedule.interval), months, "*")]
    return [(day, months, weekday) for day, weekday in _relative(schedule)]


def _months(schedule: AgentSchedule) -> str:
    factor = max(schedule.factor, 1)
    if factor == 1:
        return "*"
    if 12 % factor:
        raise Refused(f'schedule "{schedule.name}" runs every {factor} months, which moves from year to year')  # fmt: skip
    first = schedule.first_day.month
    return field([(first - 1 + count) % 12 + 1 for count in range(0, 12, factor)], 13)


def _relative(schedule: AgentSchedule) -> list[tuple[str, str]]:
    """Return pairs of day of the month and weekday, for days such as the second Tuesday or the first weekday."""
    kind, place = schedule.interval, schedule.relative
    if place == _LAST:
        return _last(kind, schedule.name)
    number = _ORDINALS.get(place)
    if number is None or not 1 <= kind <= _WEEKEND:
        raise Refused(f'schedule "{schedule.name}": freq_relative_interval {place} of kind {kind} is no day')  # fmt: skip
    if kind <= 7:  # noqa: PLR2004 - a weekday
        return [("*", f"{NAMES[kind - 1]}#{number}")]
    if kind == _ANY_DAY:
        return [(str(number), "*")]
    inside = frozenset(range(1, 6)) if kind == _WORKDAY else frozenset({0, 6})
    return _nth(inside, number)


def _last(kind: int, name: str) -> list[tuple[str, str]]:
    if 1 <= kind <= 7:  # noqa: PLR2004 - a weekday
        return [("*", f"{NAMES[kind - 1]}L")]
    if kind == _ANY_DAY:
        return [("L", "*")]
    if kind == _WORKDAY:
        return [("LW", "*")]
    raise Refused(f'schedule "{name}": no cron text names the last weekend day of a month')


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
