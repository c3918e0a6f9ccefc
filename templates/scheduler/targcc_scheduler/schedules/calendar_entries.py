"""Parse one entry of a calendar: days off, or a blackout, a time in which no run starts."""

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
"""Prefix for the name of a blackout without a name; the times follow."""

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
    """Recurring days off: a date of each year, a weekday of each week, or the n-th weekday of a month.

    Attributes:
        name: The name of the days.
        month: The month, 1 to 12; None means every month.
        day: The day of the month, for a yearly date.
        weekday: The weekday; Monday is 0.
        nth: The number of the weekday within the month; -1 is the last, None means every.
    """

    name: str
    month: int | None = None
    day: int | None = None
    weekday: int | None = None
    nth: int | None = None

    @property
    def is_weekly(self) -> bool:
        """Whether the rule is a weekday of every week."""
        return self.weekday is not None and self.nth is None

    def falls_on(self, day: date) -> bool:
        """Return whether the rule matches a date."""
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
    """A daily blackout by wall clock; may continue past midnight.

    When the clock is set back, the blackout lasts through both passes of its end.
    """

    name: str
    start: time
    end: time

    def on(self, day: date, zone: tzinfo) -> tuple[datetime, datetime]:
        """Return the start, on that day, and the end of the blackout."""
        last = day if self.start < self.end else day + timedelta(days=1)
        return resolve(datetime.combine(day, self.start), zone), _end(
            datetime.combine(last, self.end), zone
        )


@dataclass(frozen=True)
class Span:
    """A single blackout from ``start`` up to, and not including, ``end``.

    Attributes:
        name: The name of the blackout.
        start: The first moment; naive means wall-clock time in the zone of the job.
        end: The first moment after the blackout; naive as ``start``.
    """

    name: str
    start: datetime
    end: datetime

    def within(self, zone: tzinfo) -> tuple[datetime, datetime]:
        """Return start and end as instants."""
        return _begin(self.start, zone), _end(self.end, zone)


def _begin(moment: datetime, zone: tzinfo) -> datetime:
    return resolve(moment, zone) if moment.tzinfo is None else pin(moment.astimezone(zone))


def _end(moment: datetime, zone: tzinfo) -> datetime:
    """Return the instant of a moment; of a repeated wall-clock time, return the second pass."""
    if moment.tzinfo is not None:
        return pin(moment.astimezone(zone))
    second = moment.replace(tzinfo=zone, fold=1)
    twice = offset_of(second) < offset_of(second.replace(fold=0))
    return pin(second) if twice else resolve(moment, zone)


def parse_days(text: str) -> dict[date, str] | DayRule:
    """Parse one entry of days off: return the dates with their name, or a rule.

    Raises:
        CronError: The entry cannot be read.
    """
    rule, name = _named(text, DAYS_HINT)
    if match := _DATES.fullmatch(rule):
        first = _date(match[1], text)
        last = _date(match[2], text) if match[2] else first
        return dict.fromkeys(_days(first, last, text), name or rule)
    if match := _YEARLY.fullmatch(rule):
        month, day = int(match[1]), int(match[2])
        _date(f"{_LEAP_YEAR}-{rule}", text)
        return DayRule(name or f"{_MONTHS[month - 1].title()} {day}", month=month, day=day)
    match = _NTH.fullmatch(rule.lower())
    weekday = None if match is None else _place(_WEEKDAYS, match["weekday"])
    month_word = match["month"] if match else None
    months = None if month_word is None else _place(_MONTHS, month_word)
    nth = match["nth"] if match else None
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
    """Parse one entry of blackouts.

    Raises:
        CronError: The entry cannot be read, or the end is not after the start.
    """
    rule, name = _named(text, BLACKOUT_HINT)
    try:
        if match := _HOURS.fullmatch(rule):
            start, end = (time.fromisoformat(part) for part in match.groups())
            if start != end:
                return Hours(name or f"{UNNAMED}{rule}", start, end)
        elif match := _SPAN.fullmatch(rule):
            since, until = (datetime.fromisoformat(part) for part in match.groups())
            if since < until:
                return Span(name or f"{UNNAMED}{rule}", since, until)
    except ValueError as error:
        raise CronError(f'"{text}": {error}', text=text, allowed=BLACKOUT_HINT) from None
    raise CronError(
        f'"{text}" is no time in which nothing starts', text=text, allowed=BLACKOUT_HINT
    )


def parse_date(text: str) -> date:
    """Parse one date, such as ``2026-12-25``; a name in parentheses may follow.

    Raises:
        CronError: The text is not a date.
    """
    return _date(_named(text, "Write 2026-12-25.")[0], text)


def _named(text: str, hint: str) -> tuple[str, str]:
    match = _NAMED.fullmatch(text)
    if match is None:
        raise CronError(f'"{text}" cannot be read', text=text, allowed=hint)
    return " ".join(match["rule"].split()), (match["name"] or "").strip()


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
    """Return the index of a word in ``words``; the text may be the plural or the first three letters. None without a match."""
    for place, word in enumerate(words):
        if text in {word, f"{word}s", word[:3]}:
            return place
    return None
