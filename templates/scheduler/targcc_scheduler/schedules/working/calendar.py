"""A named calendar: the days off and the times in which nothing starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import CronError
from ..zones import naive, resolve, wall_clock
from .entries import UNNAMED, DayRule, Hours, Span, parse_blackout, parse_date, parse_days

if TYPE_CHECKING:
    from .ics import Closed, Event

KEYS = ("description", "off", "work", "blackouts", "ics", "include")
"""What a calendar may say."""

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Closure:
    """A time in which nothing starts.

    Attributes:
        why: What people call it, with its calendar.
        start: When it begins.
        end: When it is over; this moment is open, unless something else closes it.
        is_day: Whether it is a day off, from midnight to midnight.
    """

    why: str
    start: datetime
    end: datetime
    is_day: bool


@dataclass(frozen=True)
class WorkingCalendar:
    """Days off and times in which nothing starts.

    Two are equal that have the same name and say the same: ``digest`` is made of all that they say, also of the text of the file.

    Attributes:
        name: Its name in the project.
        digest: What it says, in a short word.
        description: One sentence for people.
    """

    name: str
    digest: str
    description: str = field(default="", compare=False)
    dates: Mapping[date, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    rules: tuple[DayRule, ...] = field(default=(), compare=False)
    worked: frozenset[date] = field(default=frozenset(), compare=False)
    hours: tuple[Hours, ...] = field(default=(), compare=False)
    spans: tuple[Span, ...] = field(default=(), compare=False)
    events: tuple[Event, ...] = field(default=(), compare=False)
    included: tuple[WorkingCalendar, ...] = field(default=(), compare=False)
    _years: dict[int, Closed] = field(default_factory=dict, compare=False, repr=False)

    def day_off(self, day: date) -> str | None:
        """Return what people call a day off, with its calendar; None for a day of work."""
        if day in self.worked:
            return None
        name = self.dates.get(day) or self._from_events(day)
        if name is None:
            name = next((rule.name for rule in self.rules if rule.falls_on(day)), None)
        if name is not None:
            return f"{name} (calendar {self.name})"
        offs = (calendar.day_off(day) for calendar in self.included)
        return next((off for off in offs if off is not None), None)

    def blackouts(self, day: date, zone: tzinfo) -> Iterator[Closure]:
        """Yield the times without starts that touch a day."""
        start, end = resolve(naive(*_ymd(day)), zone), resolve(naive(*_ymd(day + _DAY)), zone)
        for name, since, until in self._times(day, zone):
            if since < until and since < end and until > start:
                yield Closure(f"{name} (calendar {self.name})", since, until, is_day=False)
        for calendar in self.included:
            yield from calendar.blackouts(day, zone)

    def is_touched(self, day: date, zone: tzinfo) -> bool:
        """Return whether a day is one off, or something closes it that is not the same each day."""
        if self.day_off(day) is not None:
            return True
        start, end = resolve(naive(*_ymd(day)), zone), resolve(naive(*_ymd(day + _DAY)), zone)
        within = (span.within(zone) for span in self.spans_around(day))
        if any(since < end and until > start for since, until in within):
            return True
        return any(calendar.is_touched(day, zone) for calendar in self.included)

    def family(self) -> Iterator[WorkingCalendar]:
        """Yield this calendar, and those that it includes."""
        yield self
        for calendar in self.included:
            yield from calendar.family()

    def weekly(self) -> Iterator[tuple[str, str]]:
        """Yield the weekdays that are off each week: as :meth:`day_off` calls such a day, and their name alone."""
        for calendar in self.family():
            for rule in calendar.rules:
                if rule.is_weekly:
                    yield f"{rule.name} (calendar {calendar.name})", rule.name

    def blackout_texts(self, year: int) -> Iterator[str]:
        """Yield the times without starts in a year, in words: first those of each day, then the others in order."""
        for calendar in self.family():
            for hours in calendar.hours:
                clock = f"{hours.start:%H:%M}-{hours.end:%H:%M} each day"
                yield calendar.named(clock, hours.name)
        for calendar in self.family():
            spans = dict.fromkeys(calendar.spans_around(date(year, 12, 31)))
            for span in sorted(spans, key=lambda one: f"{one.start:%Y-%m-%d %H:%M}"):
                if year in {span.start.year, span.end.year}:
                    clock = f"{span.start:%Y-%m-%d %H:%M} to {span.end:%Y-%m-%d %H:%M}"
                    yield calendar.named(clock, span.name)

    def named(self, clock: str, name: str) -> str:
        """Return a time with its name and calendar."""
        shown = "" if name.startswith(UNNAMED) else f": {name}"
        return f"{clock}{shown} (calendar {self.name})"

    def _times(self, day: date, zone: tzinfo) -> Iterator[tuple[str, datetime, datetime]]:
        for hours in self.hours:
            for begun in (day - _DAY, day):
                yield hours.name, *hours.on(begun, zone)
        for span in self.spans_around(day):
            yield span.name, *span.within(zone)

    def spans_around(self, day: date) -> Iterator[Span]:
        """Yield the single times without starts, those of its file from this year and the one before."""
        yield from self.spans
        if self.events:
            for year in (day.year - 1, day.year):
                yield from self._year(year).spans

    def _from_events(self, day: date) -> str | None:
        if not self.events:
            return None
        return self._year(day.year).days.get(day) or self._year(day.year - 1).days.get(day)

    def _year(self, year: int) -> Closed:
        if year not in self._years:
            from .ics import closed_in  # few projects have such a file

            self._years[year] = closed_in(self.events, year)
        return self._years[year]


def closure_at(
    calendars: Sequence[WorkingCalendar], moment: datetime, zone: tzinfo
) -> Closure | None:
    """Return what closes a moment in one of these calendars, a day off before anything else; None when it is open."""
    day = wall_clock(moment, zone).date()
    for calendar in calendars:
        if (why := calendar.day_off(day)) is not None:
            return whole_day(day, why, zone)
    for calendar in calendars:
        for closure in calendar.blackouts(day, zone):
            if closure.start <= moment < closure.end:
                return closure
    return None


def whole_day(day: date, why: str, zone: tzinfo) -> Closure:
    """Return a day off from midnight to midnight."""
    start, end = resolve(naive(*_ymd(day)), zone), resolve(naive(*_ymd(day + _DAY)), zone)
    return Closure(why, start, end, is_day=True)


def calendar_of(
    name: str,
    said: Mapping[str, Mapping[str, Any]],
    folder: Path | None,
    within: tuple[str, ...] = (),
) -> WorkingCalendar:
    """Return a calendar of a project, with those that it includes.

    Args:
        name: Which.
        said: All calendars by name, what each says, by :data:`KEYS`: texts, or lists of them.
        folder: Where the files are that they name; None when they are not to be read.
        within: The calendars that include it.

    Raises:
        CronError: It cannot be read, there is none of that name, or it includes itself.
    """
    if name in within:
        raise CronError(
            f"the calendar {name} includes itself", text=" includes ".join([*within, name])
        )
    if name not in said:
        raise _no_calendar(name, said)
    wanted = said[name]
    within = (*within, name)
    included = (calendar_of(one, said, folder, within) for one in _texts(wanted.get("include")))
    return read_calendar(name, wanted, folder, tuple(included))


def _no_calendar(name: str, known: Mapping[str, Any]) -> CronError:
    named = ", ".join(known) or "none"
    return CronError(f'there is no calendar "{name}"', text=name, allowed=f"There are: {named}.")


def read_calendar(
    name: str,
    said: Mapping[str, Any],
    folder: Path | None,
    included: tuple[WorkingCalendar, ...] = (),
) -> WorkingCalendar:
    """Return one calendar; see :func:`calendar_of`.

    Raises:
        CronError: It cannot be read.
    """
    dates: dict[date, str] = {}
    rules: list[DayRule] = []
    for text in _texts(said.get("off")):
        days = parse_days(text)
        if isinstance(days, DayRule):
            rules.append(days)
        else:
            dates |= days
    blackouts = [parse_blackout(text) for text in _texts(said.get("blackouts"))]
    file: str = said.get("ics") or ""
    text = _text_of(name, folder / file) if file and folder is not None else ""
    return WorkingCalendar(
        name=name,
        digest=digest_of([said, text, [one.digest for one in included]]),
        description=said.get("description", ""),
        dates=dates,
        rules=tuple(rules),
        worked=frozenset(parse_date(one) for one in _texts(said.get("work"))),
        hours=tuple(one for one in blackouts if isinstance(one, Hours)),
        spans=tuple(one for one in blackouts if isinstance(one, Span)),
        events=_events(name, file, text) if text else (),
        included=included,
    )


def _text_of(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise CronError(
            f"the file of calendar {name} cannot be read: {path}: {why}",
            text=str(path),
            allowed="It is looked for in the folder of the package, so that it comes along with the code.",
        ) from None


def _events(name: str, file: str, text: str) -> tuple[Event, ...]:
    from .ics import read_events

    try:
        return read_events(text)
    except CronError as error:
        raise CronError(f"{file} of calendar {name}, {error}", text=error.text) from None


def _texts(value: str | Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def digest_of(said: Any) -> str:
    """Return what is said in eight characters."""
    text = json.dumps(said, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _ymd(day: date) -> tuple[int, int, int]:
    return day.year, day.month, day.day
