"""A cron text read on its own, field by field, to hold the translated schedule against: which days and minutes it names.

It is short rather than complete about errors: texts that no dialect takes have been refused before.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MACROS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *", "@every_minute": "* * * * *",
    "@every_second": "* * * * * *",
}  # fmt: skip
_FIVE, _WEEK = 5, 7
_SATURDAY = 5
_NUMBER = re.compile(r"\d+")
_BACKWARDS = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class CronText:
    """What a cron text names.

    Attributes:
        times: Hours and minutes.
        months: Months.
        day: The field of days, in lower case.
        weekday: The field of weekdays, in lower case; Sunday is 0.
        either: Whether a day counts that one of two given fields names (vixie); else both must.
        has_seconds: Whether it has a field of seconds that names anything but the full minute.
    """

    times: frozenset[tuple[int, int]]
    months: frozenset[int]
    day: str
    weekday: str
    either: bool
    has_seconds: bool

    def names(self, on: date) -> bool:
        """Whether it names a day."""
        if on.month not in self.months:
            return False
        by_day = any(_is_day(part, on) for part in self.day.split(","))
        by_weekday = any(_is_weekday(part, on) for part in self.weekday.split(","))
        if self.either and self.day[0] not in "*?" and self.weekday[0] not in "*?":
            return by_day or by_weekday
        return by_day and by_weekday


def read_cron_text(text: str, dialect: str) -> CronText:
    """Read a text.

    Args:
        text: The text; one that its dialect takes.
        dialect: ``cronos``, ``ncrontab``, ``vixie`` or ``quartz``.

    Raises:
        ValueError: It cannot be read.
    """
    fields = _MACROS.get(text.strip().lower(), text).lower().split()
    seconds = "0" if len(fields) == _FIVE else fields.pop(0)
    if dialect == "quartz":
        fields = fields[:_FIVE]  # the year
    if len(fields) != _FIVE:
        raise ValueError(text)
    month, weekday = fields[3], fields[4]
    fields[3] = _named(month, _MONTHS, 1)
    fields[4] = _shifted(weekday) if dialect == "quartz" else _named(weekday, _DAYS, 0)
    if dialect == "ncrontab":
        fields = [_BACKWARDS.sub(_turned, field) for field in fields]
    minute, hour, day, month, weekday = fields
    minutes, hours = _values(minute, 0, 59), _values(hour, 0, 23)
    return CronText(
        frozenset((h, m) for h in hours for m in minutes),
        frozenset(_values(month, 1, 12)),
        day,
        weekday,
        dialect == "vixie",
        _values(seconds, 0, 59) != {0},
    )


def _turned(found: re.Match[str]) -> str:
    """A range from its lower end to its higher one, which is how NCrontab reads it."""
    ends = sorted(map(int, found.groups()))
    return f"{ends[0]}-{ends[1]}"


def _named(field: str, names: tuple[str, ...], first: int) -> str:
    for number, name in enumerate(names, first):
        field = field.replace(name, str(number))
    return field


def _shifted(field: str) -> str:
    """Quartz's weekdays, in which Sunday is 1."""
    found = _named(field, _DAYS, 1)
    parts = []
    for part in found.split(","):
        number, mark, rest = part.partition("#")
        number = "7" if number == "l" else number  # Saturday
        body, slash, step = number.partition("/")
        ends = [_NUMBER.sub(lambda found: str(int(found[0]) - 1), end) for end in body.split("-")]
        parts.append("-".join(ends) + slash + step + mark + rest)
    return ",".join(parts)


def _values(field: str, low: int, high: int) -> set[int]:
    """The numbers that a field names; a range may go round."""
    found: set[int] = set()
    for part in field.split(","):
        body, slash, step = part.partition("/")
        first, dash, last = body.partition("-")
        if first in {"*", "?"}:
            start, stop = low, high
        else:
            start = int(first)
            stop = int(last) if dash else high if slash else start
        if stop < start:
            stop += high - low + 1
        size = high - low + 1
        found |= {(n - low) % size + low for n in range(start, stop + 1, int(step or 1))}
    return found


def _is_day(part: str, on: date) -> bool:
    """Whether a part of the field of days names a day."""
    last = calendar.monthrange(on.year, on.month)[1]
    if part.endswith("w"):
        number = part.removesuffix("w")
        wanted = last - int(number[2:] or 0) if number.startswith("l") else int(number)
        return wanted <= last and on == _nearest(on.replace(day=wanted))
    if part.startswith("l"):
        return on.day == last - int(part[2:] or 0)
    return on.day in _values(part, 1, 31)


def _nearest(day: date) -> date:
    """The day from Monday to Friday that is nearest, in the same month."""
    last = calendar.monthrange(day.year, day.month)[1]
    if day.weekday() == _SATURDAY:
        return day - timedelta(days=1) if day.day > 1 else day + timedelta(days=2)
    if day.weekday() > _SATURDAY:
        return day + timedelta(days=1) if day.day < last else day - timedelta(days=2)
    return day


def _is_weekday(part: str, on: date) -> bool:
    """Whether a part of the field of weekdays names a day."""
    today = on.isoweekday() % _WEEK
    if "#" in part:
        number, _, nth = part.partition("#")
        return int(number) % _WEEK == today and (on.day - 1) // _WEEK + 1 == int(nth)
    if part.endswith("l"):
        last = calendar.monthrange(on.year, on.month)[1]
        number = part.removesuffix("l")
        return int(number or 6) % _WEEK == today and on.day > last - _WEEK
    if part in {"*", "?"}:
        return True
    return today in {number % _WEEK for number in _weekdays(part)}


def _weekdays(part: str) -> set[int]:
    """Numbers of weekdays, 7 being Sunday too."""
    body, slash, step = part.partition("/")
    first, dash, last = body.partition("-")
    start = 0 if first in {"*", "?"} else int(first)
    stop = int(last) if dash else 6 if slash or first in {"*", "?"} else start
    if stop < start:
        stop += _WEEK
    return set(range(start, stop + 1, int(step or 1)))
