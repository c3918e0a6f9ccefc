"""Read days off and blackouts from an iCalendar file (RFC 5545), the common format of holiday calendars.

Only events (``VEVENT``) are read: a whole-day event is a day off, an event with a time is a blackout. Recurrence rules are read as far as
they select days. Any other recurrence rule is an error, so that no holiday is lost silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType

from .calendar_entries import Span
from .errors import CronError
from .zones import as_zone

_LINE = re.compile(
    r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?>"[^"]*"(?=[;:])|[^;:]*))*+):(.*)', re.DOTALL
)
_LENGTH = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_BY_DAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_READ = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYMONTH", "BYMONTHDAY", "BYDAY", "WKST"}
_MOMENT = re.compile(r"(?P<day>\d{8})(?:T(?P<clock>\d{6})(?P<utc>Z)?)?")
_ESCAPED = re.compile(r"\\(.)")
_DAY = timedelta(days=1)
_WEEK = 7

_Lines = dict[str, list[tuple[int, str, str]]]
"""The lines of an event by property name: line number, options and value."""


@dataclass(frozen=True)
class Repetition:
    """The recurrence rule of an event, in days.

    Attributes:
        frequency: ``DAILY``, ``WEEKLY``, ``MONTHLY`` or ``YEARLY``.
        interval: Number of days, weeks, months or years between repetitions.
        count: Total number of occurrences, including the first; None means no limit.
        until: The last possible day; None means no limit.
        months: The allowed months; empty allows all.
        month_days: The allowed days of the month; -1 is the last day; empty allows all.
        weekdays: The allowed weekdays, as (n, weekday): the n-th weekday of the month, or every when n is None; Monday is 0. For
            ``YEARLY`` without months, n counts within the year.
    """

    frequency: str
    interval: int = 1
    count: int | None = None
    until: date | None = None
    months: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    weekdays: tuple[tuple[int | None, int], ...] = ()

    def days(self, first: date, since: date, until: date) -> Iterator[date]:
        """Yield the days of an event from ``since`` up to, and not including, ``until``; the event's first day is ``first``."""
        day = first if self.count is not None else max(first, since)
        seen = 0
        end = until if self.until is None else min(until, self.until + _DAY)
        while day < end and (self.count is None or seen < self.count):
            if day == first or self._falls_on(day, first):
                seen += 1
                if day >= since:
                    yield day
            day += _DAY

    def _falls_on(self, day: date, first: date) -> bool:
        return (
            self._period(day, first) % self.interval == 0
            and (not self.months or day.month in self.months)
            and self._on_day(day, first)
        )

    def _period(self, day: date, first: date) -> int:
        match self.frequency:
            case "YEARLY":
                return day.year - first.year
            case "MONTHLY":
                return (day.year - first.year) * 12 + day.month - first.month
            case "WEEKLY":
                monday = first - timedelta(days=first.weekday())
                return (day - monday).days // _WEEK
            case _:
                return (day - first).days

    def _on_day(self, day: date, first: date) -> bool:
        if self.month_days or self.weekdays:
            left = _month_end(day).day - day.day
            by_month = not self.month_days or bool({day.day, -left - 1} & set(self.month_days))
            return by_month and (not self.weekdays or self._on_weekday(day))
        match self.frequency:
            case "YEARLY":
                return day.day == first.day and (bool(self.months) or day.month == first.month)
            case "MONTHLY":
                return day.day == first.day
            case "WEEKLY":
                return day.weekday() == first.weekday()
            case _:
                return True

    def _on_weekday(self, day: date) -> bool:
        whole_year = self.frequency == "YEARLY" and not self.months
        start = date(day.year, 1, 1) if whole_year else day.replace(day=1)
        end = date(day.year, 12, 31) if whole_year else _month_end(day)
        places = {None, (day - start).days // _WEEK + 1, -((end - day).days // _WEEK) - 1}
        return any(weekday == day.weekday() and place in places for place, weekday in self.weekdays)


@dataclass(frozen=True)
class Event:
    """One event with its repetitions.

    Attributes:
        name: The summary of the event.
        start: The first start; a ``datetime`` when the event has a time.
        length: The duration.
        rule: The recurrence rule; None without repetitions.
        but: Starts to leave out.
        also: Further starts.
    """

    name: str
    start: date
    length: timedelta
    rule: Repetition | None = None
    but: frozenset[date] = frozenset()
    also: tuple[date, ...] = ()

    def starts(self, year: int) -> Iterator[date]:
        """Yield the starts of the event within a year."""
        since, until = date(year, 1, 1), date(year + 1, 1, 1)
        first = _day_of(self.start)
        days = [first] if self.rule is None else self.rule.days(first, since, until)
        starts = [self._at(day) for day in days if since <= day < until]
        more = [start for start in self.also if since <= _day_of(start) < until]
        yield from (start for start in dict.fromkeys([*starts, *more]) if start not in self.but)

    def _at(self, day: date) -> date:
        if not isinstance(self.start, datetime):
            return day
        return datetime.combine(day, self.start.timetz())


@dataclass(frozen=True)
class Closed:
    """The days off, with their names, and the blackouts from events of one year."""

    days: Mapping[date, str] = field(default_factory=lambda: MappingProxyType({}))
    spans: tuple[Span, ...] = ()


def closed_in(events: tuple[Event, ...], year: int) -> Closed:
    """Return the days off and blackouts of events that begin in a year."""
    days: dict[date, str] = {}
    spans: list[Span] = []
    for event in events:
        for start in event.starts(year):
            if isinstance(start, datetime):
                spans.append(Span(event.name, start, start + event.length))
            else:
                for turn in range(max(1, event.length.days)):
                    days.setdefault(start + turn * _DAY, event.name)
    return Closed(days, tuple(spans))


def read_events(text: str) -> tuple[Event, ...]:
    """Return the events of a file, without cancelled events.

    Raises:
        CronError: The text is not an iCalendar file, or a line or recurrence rule cannot be read; the message has the line number.
    """
    lines = list(_unfolded(text))
    if not lines or lines[0][1].strip().upper() != "BEGIN:VCALENDAR":
        raise _wrong(1, "it does not begin with BEGIN:VCALENDAR")
    entries: list[_Lines] = []
    inside: list[str] = []
    for number, line in lines:
        matched = _LINE.fullmatch(line)
        if matched is None:
            raise _wrong(number, f"it cannot be read: {line[:60]}")
        name, options, value = matched[1].upper(), matched[2], matched[3]
        if name == "BEGIN":
            inside.append(value.upper())
            if value.upper() == "VEVENT":
                entries.append({"BEGIN": [(number, options, value)]})
        elif name == "END" and inside:
            inside.pop()
        elif inside and inside[-1] == "VEVENT":
            entries[-1].setdefault(name, []).append((number, options, value))
    replaced = _replaced(entries)
    return tuple(_event(entry, replaced) for entry in entries if not _is_cancelled(entry))


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Yield unfolded lines with their number; a line that begins with a blank or tab continues the line before."""
    number, whole = 0, ""
    for place, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if line[:1] in {" ", "\t"}:
            whole += line[1:]
            continue
        if whole:
            yield number, whole
        number, whole = place, line
    if whole:
        yield number, whole


def _wrong(number: int, message: str) -> CronError:
    return CronError(f"line {number}: {message}", text=message)


def _is_cancelled(lines: _Lines) -> bool:
    return any(value.upper() == "CANCELLED" for _, _, value in lines.get("STATUS", []))


def _replaced(events: list[_Lines]) -> dict[str, set[date]]:
    """Map the UID of each event to the repetitions that another entry replaces or cancels (``RECURRENCE-ID``)."""
    repetitions: dict[str, set[date]] = {}
    for lines in events:
        repetitions.setdefault(_uid(lines), set()).update(_every_moment(lines, "RECURRENCE-ID"))
    return repetitions


def _uid(lines: _Lines) -> str:
    return next((value for _, _, value in lines.get("UID", [])), "")


def _event(lines: _Lines, replaced: dict[str, set[date]]) -> Event:
    [(number, _, _)] = lines["BEGIN"]
    if "DTSTART" not in lines:
        raise _wrong(number, "an event has no DTSTART")
    start = _moments(*lines["DTSTART"][0])[0]
    if "DTEND" in lines:
        end = _moments(*lines["DTEND"][0])[0]
        if isinstance(start, datetime) != isinstance(end, datetime):
            raise _wrong(number, "an event begins with a day and ends with a time")
        length = end - start
    elif "DURATION" in lines:
        length = _length(*lines["DURATION"][0])
    else:
        length = timedelta() if isinstance(start, datetime) else _DAY
    names = [value for _, _, value in lines.get("SUMMARY", [])]
    but = set(_every_moment(lines, "EXDATE"))
    if "RECURRENCE-ID" not in lines:
        but |= replaced[_uid(lines)]
    return Event(
        name=_ESCAPED.sub(r"\1", names[0]).strip() if names else "event",
        start=start,
        length=length,
        rule=_repetition(*lines["RRULE"][0]) if "RRULE" in lines else None,
        but=frozenset(but),
        also=tuple(_every_moment(lines, "RDATE")),
    )


def _every_moment(lines: _Lines, name: str) -> list[date]:
    return [moment for line in lines.get(name, []) for moment in _moments(*line)]


def _moments(number: int, options: str, value: str) -> list[date]:
    match = re.search(r';TZID="?([^;":]+)"?', options, re.IGNORECASE)
    return [_moment(number, text, match[1] if match else None) for text in value.split(",")]


def _moment(number: int, text: str, zone: str | None) -> date:
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise _wrong(number, f'"{text}" is no date')
    try:
        day = date.fromisoformat(match["day"])
        if match["clock"] is None:
            return day
        clock = time.fromisoformat(match["clock"])
        if match["utc"]:
            return datetime.combine(day, clock, UTC)
        return datetime.combine(day, clock, as_zone(zone) if zone else None)
    except ValueError as error:  # a CronError is a ValueError
        raise _wrong(number, str(error)) from None


def _length(number: int, _: str, text: str) -> timedelta:
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise _wrong(number, f'"{text}" is no duration')
    weeks, days, hours, minutes, seconds = (int(amount or 0) for amount in match.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def _repetition(number: int, _: str, text: str) -> Repetition:
    parts = dict(part.upper().split("=", 1) for part in text.split(";") if "=" in part)
    unknown = parts.keys() - _READ
    if unknown or parts.get("FREQ") not in {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}:
        raise _wrong(number, f"a repetition that is not read: {text}")
    days = [_BY_DAY.fullmatch(part) for part in parts.get("BYDAY", "").split(",") if part]
    other_week = parts["FREQ"] == "WEEKLY" and parts.get("WKST", "MO") != "MO"
    if not all(days) or (other_week and parts.get("INTERVAL", "1") != "1"):
        raise _wrong(number, f"a repetition that is not read: {text}")
    try:
        until = _day_of(_moment(number, parts["UNTIL"], None)) if "UNTIL" in parts else None
        return Repetition(
            frequency=parts["FREQ"],
            interval=max(1, int(parts.get("INTERVAL", "1"))),
            count=int(parts["COUNT"]) if "COUNT" in parts else None,
            until=until,
            months=_numbers(parts.get("BYMONTH", "")),
            month_days=_numbers(parts.get("BYMONTHDAY", "")),
            weekdays=tuple(
                (int(part[1]) if part[1] else None, _WEEKDAYS.index(part[2]))
                for part in days
                if part
            ),
        )
    except ValueError:
        raise _wrong(number, f"a repetition that is not read: {text}") from None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


def _day_of(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _month_end(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - _DAY
