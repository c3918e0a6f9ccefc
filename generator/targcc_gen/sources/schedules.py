"""Schedules of a job's spec: fields of cron texts, intervals of days, and checked cron texts and zones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.errors import CronError

from targcc_gen.errors import ZoneError
from targcc_gen.sources.drafts import Refused
from targcc_gen.sources.zones import resolve_zone

_DAY = timedelta(days=1)
_MOST_SCHEDULES = 4
_MOST_DAYS = 3660

# Checks.


def cron_of(text: str, dialect: str = "cronos") -> CronSchedule:
    """Return the schedule of a cron text.

    Raises:
        Refused: The dialect refuses the text, or the text names no date.
    """
    try:
        schedule = CronSchedule.parse(text, dialect=dialect)
    except CronError as error:
        advice = "" if dialect == "cronos" else f". {error.allowed}"
        raise Refused(f'cron "{text}": {error.message}{advice}') from None
    if not schedule.reachable:
        raise Refused(f'cron "{text}": there is no such date, it never runs')
    return schedule


def own_text(text: str, schedule: CronSchedule) -> str:
    """Return the text of a schedule in our dialect: ``text`` itself, if our dialect reads it alike."""
    try:
        return text if CronSchedule.parse(text) == schedule else schedule.normal
    except CronError:
        return schedule.normal


def zone_named(name: str, what: str = "its zone") -> str:
    """Return the IANA name of a zone.

    Raises:
        Refused: No zone has the name; the reason begins with ``what``.
    """
    try:
        return resolve_zone(name).key
    except ZoneError:
        raise Refused(f'{what} is "{name}", which is no time zone') from None


# Rules by day: days that a rule names, at times of the day.

Days = tuple[str, str, str]
"""The fields of a cron text for days: day of the month, month, weekday."""


def day_intervals(
    first: date, days: int, names_day: Callable[[date], bool], times: Sequence[timedelta]
) -> list[dict[str, Any]]:
    """Return intervals that name the days of a rule, which repeats after some days, at times of the day.

    Args:
        first: The first day of the rule.
        days: The number of days after which the rule repeats.
        names_day: Returns whether the rule names a day.
        times: The times of a day, from midnight.

    Raises:
        Refused: The rule repeats after more than ten years, or takes too many intervals.
    """
    if days > _MOST_DAYS:
        raise Refused(f"it runs every {days} days, which is more than ten years")
    dates = [day for count in range(days) if names_day(day := first + count * _DAY)]
    _check_few(len(dates) * len(times), "intervals")
    return [
        {"every": days * _DAY, "anchor": datetime.combine(day, datetime.min.time()) + offset}
        for day in dates
        for offset in times
    ]


def cron_texts(
    times: Sequence[timedelta], days_of: Callable[[int], Iterable[Days]]
) -> list[dict[str, Any]]:
    """Return cron texts for days at times of the day.

    Args:
        times: The times of a day, from midnight; beyond 24 hours for the day after.
        days_of: Returns the fields of the days (0), or of the days after them (1).

    Raises:
        Refused: The texts are too many, or none names these times.
    """
    texts = [
        {"cron": f"{clock} {' '.join(days)}"}
        for shift in (0, 1)
        if (inside := [time - shift * _DAY for time in times if time // _DAY == shift])
        for days in days_of(shift)
        for clock in clocks(inside)
    ]
    _check_few(len(texts), "cron texts")
    return texts


def _check_few(count: int, what: str) -> None:
    if count > _MOST_SCHEDULES:
        raise Refused(f"it takes {count:,} {what}: split it, or choose a step that divides an hour")
    if not count:
        raise Refused("it names no day")


# Fields.

NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
"""Weekdays by number; 0 is Sunday."""


def clocks(offsets: Iterable[timedelta]) -> list[str]:
    """Return the fields of seconds (if any is not 0), minutes and hours for the times of a day; hours with equal minutes share a text."""
    hours: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for offset in offsets:
        minute, second = divmod(int(offset.total_seconds()) % 3600, 60)
        hours[int(offset.total_seconds()) // 3600].add((minute, second))
    alike: dict[frozenset[tuple[int, int]], list[int]] = defaultdict(list)
    for hour, inside in hours.items():
        alike[frozenset(inside)].append(hour)
    texts = []
    for same, members in alike.items():
        inside = set(same)
        minutes, seconds = {minute for minute, _ in inside}, {second for _, second in inside}
        if len(minutes) * len(seconds) != len(inside):
            raise Refused("its seconds differ from minute to minute")
        clock = f"{field(minutes, 60)} {field(members, 24)}"
        texts.append(clock if seconds == {0} else f"{field(seconds, 60)} {clock}")
    return texts


def field(numbers: Collection[int], size: int) -> str:
    """Write numbers as a field: ``*``, ``*/15``, ``8-18`` or a list."""
    ordered = sorted(set(numbers))
    if len(ordered) == size:
        return "*"
    if len(ordered) == 1:
        return str(ordered[0])
    step = ordered[1] - ordered[0]
    if ordered == list(range(ordered[0], ordered[-1] + 1, step)):
        reaches_end = ordered[-1] + step >= size
        if step == 1:
            return f"{ordered[0]}-{ordered[-1]}"
        if reaches_end and len(ordered) > 2:  # noqa: PLR2004 - shorter as a list
            return f"{ordered[0] or '*'}/{step}"
        if len(ordered) > 3:  # noqa: PLR2004
            return f"{ordered[0]}-{ordered[-1]}/{step}"
    return ",".join(map(str, ordered))


def weekdays_field(numbers: Collection[int]) -> str:
    """Write weekdays as a field; 0 is Sunday."""
    if frozenset(numbers) == frozenset(range(7)):
        return "*"
    if frozenset(numbers) == frozenset(range(1, 6)):
        return "MON-FRI"
    return ",".join(NAMES[number] for number in sorted(numbers))
