"""systemd timers: calendar expressions, and the times that they name.

Sources: the manual pages systemd.time(7) and systemd.timer(5). ``systemd-analyze calendar`` of systemd 257 shows the clock changes: a time in
a gap does not elapse, and a time of a repeated hour elapses in the first pass alone.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

_DAY = timedelta(days=1)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WORDS = {
    "minutely": "*-*-* *:*:00", "hourly": "*-*-* *:00:00", "daily": "*-*-* 00:00:00", "monthly": "*-*-01 00:00:00",
    "weekly": "Mon *-*-* 00:00:00", "yearly": "*-01-01 00:00:00", "annually": "*-01-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00", "semiannually": "*-01,07-01 00:00:00",
}  # fmt: skip
_DATE = re.compile(r"(?:([^-]+)-)?([^-~]+)([-~])([^-~]+)")
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]*)\s*")
_UNITS = {
    "us": 1e-6, "usec": 1e-6, "ms": 1e-3, "msec": 1e-3, "": 1, "s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60, "min": 60,
    "minute": 60, "minutes": 60, "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800, "month": 2629800, "months": 2629800, "y": 31557600, "year": 31557600, "years": 31557600,
}  # fmt: skip
_FIRST_YEAR, _LAST_YEAR = 1970, 2200


class CalendarError(ValueError):
    """A text that is no calendar expression; the message has the part."""


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """A calendar expression.

    Attributes:
        weekdays: Weekdays; 0 is Monday. Empty for all.
        years: Years; empty for all.
        months: Months.
        days: Days of the month; counted from the end if ``is_from_end``: 1 is the last day.
        is_from_end: Whether days count from the end of the month.
        hours: Hours.
        minutes: Minutes.
        seconds: Seconds.
        zone: The zone of the expression; empty for the machine's zone.
    """

    weekdays: frozenset[int]
    years: frozenset[int]
    months: frozenset[int]
    days: frozenset[int]
    is_from_end: bool
    hours: frozenset[int]
    minutes: frozenset[int]
    seconds: frozenset[int]
    zone: str = ""

    def names_day(self, day: date) -> bool:
        """Return whether the expression names a day."""
        last = calendar.monthrange(day.year, day.month)[1]
        number = last - day.day + 1 if self.is_from_end else day.day
        return (
            (not self.weekdays or day.weekday() in self.weekdays)
            and (not self.years or day.year in self.years)
            and day.month in self.months
            and number in self.days
        )

    def starts(self, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the instants in ``[start, end)`` at which the timer elapses, in order."""
        own_zone = ZoneInfo(self.zone) if self.zone else zone
        times = [time(h, m, s) for h in sorted(self.hours) for m in sorted(self.minutes) for s in sorted(self.seconds)]  # fmt: skip
        day, last = (moment.astimezone(own_zone).date() for moment in (start, end))
        while day <= last:
            if self.names_day(day):
                for clock in times:
                    moment = datetime.combine(day, clock, own_zone).astimezone(UTC)
                    back = moment.astimezone(own_zone).replace(tzinfo=None, fold=0)
                    if back == datetime.combine(day, clock) and start <= moment < end:
                        yield moment
            day += _DAY


@lru_cache(maxsize=4096)
def parse_calendar(text: str) -> CalendarEvent:
    """Parse a calendar expression, such as ``Mon..Fri *-*-* 02:00:00 Europe/Berlin``.

    Raises:
        CalendarError: The text is no calendar expression.
    """
    words = text.split()
    zone = ""
    if words and (words[-1].upper() == "UTC" or words[-1] in _zones()):
        zone = "UTC" if words[-1].upper() == "UTC" else words[-1]
        words = words[:-1]
    if len(words) == 1 and words[0].lower() in _WORDS:
        words = _WORDS[words[0].lower()].split()
    if not words:
        raise CalendarError(f'"{text}" is no calendar expression')
    weekdays: frozenset[int] = frozenset()
    if words[0][0].isalpha():
        weekdays, words = _days_of_week(words[0]), words[1:]
    days = next((word for word in words if "-" in word or "~" in word), "*-*-*")
    clocks = [word for word in words if ":" in word]
    if len(clocks) > 1 or [word for word in words if word != days and word not in clocks]:
        raise CalendarError(f'"{text}" is no calendar expression')
    clock = clocks[0] if clocks else "00:00:00"
    years, months, numbers, from_end = _date(days)
    parts = clock.split(":")
    if len(parts) == 2:  # noqa: PLR2004 - without seconds
        parts.append("00")
    if len(parts) != 3:  # noqa: PLR2004
        raise CalendarError(f'"{clock}" is no time')
    hours, minutes, seconds = (
        _numbers(part, 0, high) for part, high in zip(parts, (23, 59, 59), strict=True)
    )
    return CalendarEvent(weekdays, years, months, numbers, from_end, hours, minutes, seconds, zone)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _date(text: str) -> tuple[frozenset[int], frozenset[int], frozenset[int], bool]:
    match = _DATE.fullmatch(text)
    if match is None:
        raise CalendarError(f'"{text}" is no date')
    year, month, mark, day = match.groups()
    all_years = year in {None, "*"}
    years: frozenset[int] = frozenset() if all_years else _numbers(year, _FIRST_YEAR, _LAST_YEAR)
    return years, _numbers(month, 1, 12), _numbers(day, 1, 31), mark == "~"


def _days_of_week(text: str) -> frozenset[int]:
    result: set[int] = set()
    for part in text.rstrip(",").lower().split(","):
        first, dots, last = part.replace("..", "-").partition("-")
        ends = [_weekday(first), _weekday(last) if dots else _weekday(first)]
        span = range(ends[0], ends[1] + 1) if ends[0] <= ends[1] else (*range(ends[0], 7), *range(ends[1] + 1))  # fmt: skip
        result.update(span)
    return frozenset(result)


def _weekday(text: str) -> int:
    for number, name in enumerate(_WEEKDAYS):
        if text[:3] == name:
            return number
    raise CalendarError(f'"{text}" is no weekday')


def _numbers(text: str, low: int, high: int) -> frozenset[int]:
    """Return the numbers of a component: ``*``, ``1..5``, ``00/20``, or a list of them."""
    result: set[int] = set()
    for part in text.split(","):
        body, slash, step = part.partition("/")
        first, dots, last = body.partition("..")
        try:
            start = low if first == "*" else int(first)
            stop = int(last) if dots else high if slash or first == "*" else start
            numbers = range(start, stop + 1, int(step) if slash else 1)
        except ValueError:
            raise CalendarError(f'"{part}" is no number') from None
        if not numbers or numbers[0] < low or numbers[-1] > high:
            raise CalendarError(f'"{text}" is not from {low} to {high}')
        result.update(numbers)
    return frozenset(result)


def parse_span(text: str) -> timedelta | None:
    """Parse a time span such as ``1h 30min``; None for ``infinity``.

    Raises:
        CalendarError: The text is no time span.
    """
    if text.strip().lower() == "infinity":
        return None
    seconds, at = 0.0, 0
    while at < len(text):
        match = _SPAN.match(text, at)
        if match is None or match[2] not in _UNITS or match.end() == at:
            raise CalendarError(f'"{text}" is no time span')
        seconds += float(match[1]) * _UNITS[match[2]]
        at = match.end()
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise CalendarError(f'"{text}" is longer than the calendar') from None


def timer_starts(
    events: Sequence[CalendarEvent], zone: ZoneInfo, start: datetime, end: datetime
) -> list[datetime]:
    """Return the instants in ``[start, end)`` at which a timer with these expressions elapses."""
    return sorted({moment for event in events for moment in event.starts(zone, start, end)})
