"""What one line of a calendar says: days off, or a time in which nothing starts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from .errors import CronError
from .zones import offset_of, pin, resolve

DAYS_HINT = (
    "Write 2026-12-25, 2026-12-24 to 2027-01-02, 12-25 (each year), saturday, second tuesday,"
    " or last friday of december; a name may follow in parentheses."
)
BLACKOUT_HINT = (
    "Write 22:00-23:30, or 2026-12-24 18:00 to 2026-12-27 06:00; a name may follow in parentheses."
)

UNNAMED = "blackout "
"""How a time without starts is called that has no name of its own: before its clock."""

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
_NAMED = re.compile(r"\s*(?P<rule>[^()]+?)\s*(?:\((?P<name>.+)\))?\s*", re.DOTALL)
_DATES = re.compile(r"(\d{4}-\d\d-\d\d)(?: to (\d{4}-\d\d-\d\d))?")
_YEARLY = re.compile(r"(\d\d)-(\d\d)")
_NTH = re.compile(r"(?:(?P<nth>[a-z]+) )?(?P<weekday>[a-z]+)(?: of (?P<month>[a-z]+))?")
_HOURS = re.compile(r"(\d\d:\d\d) ?(?:-|to) ?(\d\d:\d\d)")
_SPAN = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d) to (\d{4}-\d\d-\d\d[T ]\d\d:\d\d)")
_MOST_DAYS = 3660
_LEAP_YEAR = 2000
_WEEK = 7


@dataclass(frozen=True)
class DayRule:
    """Days that come again: one date of each year, or a weekday, each or the n-th of a month.

    Attributes:
        name: What people call it.
        month: The month, 1 to 12; None is each.
        day: The day of the month.
        weekday: Monday is 0.
        nth: Which of the month's; -1 is the last, None each.
    """

    name: str
    month: int | None = None
    day: int | None = None
    weekday: int | None = None
    nth: int | None = None

    @property
    def is_weekly(self) -> bool:
        """Whether it is one weekday, each week."""
        return self.weekday is not None and self.nth is None

    def falls_on(self, day: date) -> bool:
        """Return whether a date is one of these days."""
        if self.month is not None and day.month != self.month:
            return False
        if self.weekday is None:
            return day.day == self.day
        if day.weekday() != self.weekday:
            return False
        if self.nth == -1:
            return (day + timedelta(days=_WEEK)).month != day.month
        return self.nth is None or (day.day - 1) // _WEEK + 1 == self.nth


@dataclass(frozen=True)
class Hours:
    """A time of each day in which nothing starts, by the clock; it may go on past midnight.

    On the night on which the clock is set back it lasts through both passes of its end.
    """

    name: str
    start: time
    end: time

    def on(self, day: date, zone: tzinfo) -> tuple[datetime, datetime]:
        """Return when it begins, on that day, and when it ends."""
        last = day if self.start < self.end else day + timedelta(days=1)
        return resolve(datetime.combine(day, self.start), zone), _end(
            datetime.combine(last, self.end), zone
        )


@dataclass(frozen=True)
class Span:
    """One time in which nothing starts, from one moment up to, and not including, another.

    Attributes:
        start: Naive means wall-clock time in the zone of the job.
        end: As ``start``.
    """

    name: str
    start: datetime
    end: datetime

    def within(self, zone: tzinfo) -> tuple[datetime, datetime]:
        """Return both moments as instants."""
        return _begin(self.start, zone), _end(self.end, zone)


def _begin(moment: datetime, zone: tzinfo) -> datetime:
    return resolve(moment, zone) if moment.tzinfo is None else pin(moment.astimezone(zone))


def _end(moment: datetime, zone: tzinfo) -> datetime:
    """Of a time that comes twice, the second."""
    if moment.tzinfo is not None:
        return pin(moment.astimezone(zone))
    second = moment.replace(tzinfo=zone, fold=1)
    twice = offset_of(second) < offset_of(second.replace(fold=0))
    return pin(second) if twice else resolve(moment, zone)


def parse_days(text: str) -> dict[date, str] | DayRule:
    """Return the days off of one line: dates with their name, or a rule.

    Raises:
        CronError: The line cannot be read.
    """
    rule, name = _named(text, DAYS_HINT)
    if found := _DATES.fullmatch(rule):
        first = _date(found[1], text)
        last = _date(found[2], text) if found[2] else first
        return dict.fromkeys(_days(first, last, text), name or rule)
    if found := _YEARLY.fullmatch(rule):
        month, day = int(found[1]), int(found[2])
        _date(f"{_LEAP_YEAR}-{rule}", text)
        return DayRule(name or f"{_MONTHS[month - 1].title()} {day}", month=month, day=day)
    found = _NTH.fullmatch(rule.lower())
    weekday = None if found is None else _place(_WEEKDAYS, found["weekday"])
    month_word = found["month"] if found else None
    months = None if month_word is None else _place(_MONTHS, month_word)
    nth = found["nth"] if found else None
    unknown = (month_word and months is None) or (nth and nth not in _ORDINALS)
    if weekday is None or unknown or (month_word and not nth):
        raise CronError(f'"{text}" names no days off', text=text, allowed=DAYS_HINT)
    return DayRule(
        name or rule.capitalize(),
        month=None if months is None else months + 1,
        weekday=weekday,
        nth=_ORDINALS[nth] if nth else None,
    )


def parse_blackout(text: str) -> Hours | Span:
    """Return the time of one line in which nothing starts.

    Raises:
        CronError: The line cannot be read, or the time has no length.
    """
    rule, name = _named(text, BLACKOUT_HINT)
    try:
        if found := _HOURS.fullmatch(rule):
            start, end = (time.fromisoformat(one) for one in found.groups())
            if start != end:
                return Hours(name or f"{UNNAMED}{rule}", start, end)
        elif found := _SPAN.fullmatch(rule):
            since, until = (datetime.fromisoformat(one) for one in found.groups())
            if since < until:
                return Span(name or f"{UNNAMED}{rule}", since, until)
    except ValueError as error:
        raise CronError(f'"{text}": {error}', text=text, allowed=BLACKOUT_HINT) from None
    raise CronError(
        f'"{text}" is no time in which nothing starts', text=text, allowed=BLACKOUT_HINT
    )


def parse_date(text: str) -> date:
    """Return one date, ``2026-12-25``, whose name may follow in parentheses.

    Raises:
        CronError: It is none.
    """
    return _date(_named(text, "Write 2026-12-25.")[0], text)


def _named(text: str, hint: str) -> tuple[str, str]:
    found = _NAMED.fullmatch(text)
    if found is None:
        raise CronError(f'"{text}" cannot be read', text=text, allowed=hint)
    return " ".join(found["rule"].split()), (found["name"] or "").strip()


def _date(text: str, whole: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CronError(f'"{text}" is no date', text=whole, allowed=DAYS_HINT) from None


def _days(first: date, last: date, text: str) -> Iterator[date]:
    count = (last - first).days + 1
    if not 0 < count <= _MOST_DAYS:
        raise CronError(
            f'"{text}" is no range of days', text=text, allowed="One day to ten years, in order."
        )
    return (first + timedelta(days=turn) for turn in range(count))


def _place(words: tuple[str, ...], text: str) -> int | None:
    """Return which of the words it is, whole, in the plural, or by its first three letters."""
    for place, word in enumerate(words):
        if text in {word, f"{word}s", word[:3]}:
            return place
    return None
