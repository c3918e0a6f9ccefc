"""Cron schedules: parse an expression in any dialect, and compute its times."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, tzinfo
from functools import cached_property
from typing import TypeVar

from .base import Schedule
from .dialects import (
    CRONOS,
    NCRONTAB,
    QUARTZ,
    QUARTZ_HINT,
    VIXIE,
    Dialect,
    Field,
    dialect_named,
    either_day,
    expand_macro,
    plain_quartz,
)
from .errors import FIELDS_HINT, Part
from .fields import ANY_DAY, ANY_WEEKDAY, CronFields, highest, lowest, month_length
from .words import ENGLISH, Language, describe, normal_form
from .zones import SECOND, Zone, as_zone, naive, offset_of, overlap_around, pin, resolve, wall_clock

# Parser of cron expressions, for every dialect.
#
# Each field becomes a set of bits. Rules of a single dialect, such as Quartz's numbering of
# weekdays, are in ``dialects``.

Fields = TypeVar("Fields", bound=CronFields)

MAX_LENGTH = 1000
"""Maximum length of an expression in characters; an expression that lists every value is shorter."""


def _value(part: Part, spec: Field, dialect: Dialect) -> int:
    """Read a number or a name."""
    text = part.text
    if not text:
        part.fail(f"a value is missing in {spec.name}", spec.hint)
    if text.isascii() and text.isdigit():
        if len(text) > 2 and (dialect.strict or len(text) > 9):  # noqa: PLR2004 - as Cronos
            part.fail(f"{spec.name} {part.shown} has more than two digits", spec.hint)
        if not spec.low <= int(text) <= spec.high:
            part.fail(f"{spec.name} {int(text)} is not between {spec.low} and {spec.high}")
        return int(text)
    for name, number in spec.names.items():
        if name == text.upper() or (dialect is NCRONTAB and name.startswith(text.upper())):
            return number
    return part.fail(f'"{part.shown}" is no {spec.name}', spec.hint)


def _step(part: Part, spec: Field, dialect: Dialect) -> int:
    """Read the step after a slash."""
    text = part.text
    if not text:
        part.fail(f"a step is missing in {spec.name}", spec.hint)
    if not (text.isascii() and text.isdigit()) or len(text) > (2 if dialect.strict else 9):
        part.fail(f'"{part.shown}" is not a step for {spec.name}', spec.hint)
    highest = spec.high if dialect.strict else 10**9
    if not 1 <= int(text) <= highest:
        part.fail(f"step {int(text)} is not between 1 and {spec.high}", spec.hint)
    return int(text)


def _span(spec: Field, low: int, high: int, step: int) -> int:
    """Return the bits of ``low-high/step``; a range whose end is below its start wraps around."""
    if low <= high:
        return sum(1 << n for n in range(low, high + 1, step))
    # In a week of 0-7 Sunday has two numbers; a range that wraps around counts Sunday once.
    last = 6 if (spec.low, spec.high) == (0, 7) else spec.high
    again = spec.low + step - int(math.fmod(last - low, step)) - 1
    turn = range(low, last + 1, step), range(again, high + 1, step)
    return sum(1 << n for n in {*turn[0], *turn[1]})


_OTHER_STARS = {("?", "cronos", False), ("?", "cronos", True), ("", "quartz", True)}
"""Further spellings of "every value", as (text, dialect, whether a step follows): Cronos reads
``?`` as ``*``, and Quartz reads ``/5`` as ``*/5``."""


def _item(part: Part, spec: Field, dialect: Dialect) -> tuple[int, bool]:
    """Read one item of a list: return its bits, and whether the item is a ``*``, a range or a step."""
    head, *steps = part.split("/")
    if len(steps) > 1:
        steps[1].fail(f"{spec.name} has two steps", spec.hint)
    step = _step(steps[0], spec, dialect) if steps else 1
    if head.text == "*" or (head.text, dialect.name, bool(steps)) in _OTHER_STARS:
        return _span(spec, spec.low, spec.high, step), True
    first, *rest = head.split("-")
    low = _value(first, spec, dialect)
    if rest:
        return _span(spec, *_ends(low, rest, head, spec, dialect), step), True
    if not steps:
        return 1 << low, False
    if not dialect.open_step:
        why = f"{dialect.name} has no {part.shown}: one cron reads it as {low}, another refuses it"
        part.fail(why, f"Write {low}-{spec.high}/{step}, or {low}.")
    return _span(spec, low, spec.high, step), True


def _ends(low: int, rest: list[Part], head: Part, spec: Field, dialect: Dialect) -> tuple[int, int]:
    """Read the end of a range: return both ends, in the order that the dialect uses."""
    if len(rest) > 1:
        rest[1].fail(f"{spec.name} has a range of three values", spec.hint)
    high = _value(rest[0], spec, dialect)
    if low > high and dialect.wraps == "refuse":
        head.fail(f"{dialect.name} refuses a range that ends before it starts", spec.hint)
    return (high, low) if low > high and dialect.wraps == "swap" else (low, high)


def _list(part: Part, spec: Field, dialect: Dialect) -> tuple[int, bool]:
    """Read a field: return its bits, and whether the field has a ``*``, a range or a step."""
    items = part.split(",")
    bits, interval = 0, False
    for item in items:
        if len(items) > 1 and item.text[:1] in ("*", "?") and not dialect.star_in_list:
            item.fail(f"{item.text[0]} stands alone in {spec.name}", spec.hint)
        more, counts = _item(item, spec, dialect)
        bits, interval = bits | more, interval or counts
    return bits, interval


_LAST_DAY = re.compile(r"L(?:-([0-9]+))?(W)?", re.IGNORECASE)
_NEAREST = re.compile(r"([0-9]+)W", re.IGNORECASE)


def _day_of_month(part: Part, spec: Field, dialect: Dialect) -> tuple[int, int | None, bool]:
    """Read the day of month: return its bits, ``last`` and ``nearest`` as in ``CronFields``."""
    if dialect.specials and (match := _LAST_DAY.fullmatch(part.text)):
        back = int(match[1] or 0) if len(match[1] or "") <= 2 else 99  # noqa: PLR2004 - as Cronos
        if back > spec.high - 1:
            part.fail(f"{part.shown} is not between L-0 and L-{spec.high - 1}", spec.hint)
        return ANY_DAY, back, bool(match[2])
    if dialect.specials and (match := _NEAREST.fullmatch(part.text)):
        return 1 << _value(part.cut(len(match[1])), spec, dialect), None, True
    return _list(part, spec, dialect)[0], None, False


def _day_of_week(part: Part, spec: Field, dialect: Dialect) -> tuple[int, int]:
    """Read the day of week: return its bits, and ``nth`` as in ``CronFields``."""
    if dialect.specials and "#" in part.text:
        day, number, *more = part.split("#")
        if more or number.text not in ("1", "2", "3", "4", "5", "01", "02", "03", "04", "05"):
            part.fail(f"{part.shown} does not name the first to fifth day of the month", spec.hint)
        return 1 << _value(day, spec, dialect), int(number.text)
    if dialect.specials and len(part.text) > 1 and part.text[-1] in "Ll":
        return 1 << _value(part.cut(len(part.text) - 1), spec, dialect), -1
    return _list(part, spec, dialect)[0], 0


_FIVE = 5
"""Number of fields in an expression without seconds."""


def _parts(text: str, counts: tuple[int, ...]) -> list[Part]:
    """Return the fields of an expression, seconds first; the seconds are 0 when the expression has none."""
    if len(text) > MAX_LENGTH:
        whole = Part(text, 0, text)
        whole.fail(f"the expression has {len(text)} characters", f"{MAX_LENGTH} at most.")
    parts = [Part(text, m.start(), m[0]) for m in re.finditer(r"[^ \t]+", text)]
    if len(parts) not in counts:
        extra = parts[max(counts)] if len(parts) > max(counts) else Part(text, 0, text)
        expected = " or ".join(str(n) for n in counts)
        hint = FIELDS_HINT if _FIVE in counts else QUARTZ_HINT
        extra.fail(f"{len(parts)} field{'s' * (len(parts) != 1)} instead of {expected}", hint)
    if len(parts) == _FIVE:
        parts.insert(0, Part("0", 0, "0"))
    return parts


def read(kind: type[Fields], text: str, dialect: Dialect, counts: tuple[int, ...]) -> Fields:
    """Parse an expression.

    Args:
        kind: The class to create.
        text: The expression, or a macro such as ``@daily``.
        dialect: The dialect of the expression.
        counts: The allowed numbers of fields.

    Raises:
        CronError: With the column of the error and what is allowed there.
    """
    macro = expand_macro(text, dialect)
    parts = _parts(macro, (5, 6)) if macro else _parts(text, counts)
    if dialect is QUARTZ:
        parts = plain_quartz(parts)
    clock = [_list(parts[place], dialect.fields[place], dialect) for place in range(3)]
    day, last, nearest = _day_of_month(parts[3], dialect.fields[3], dialect)
    month, _ = _list(parts[4], dialect.fields[4], dialect)
    weekday, nth = _day_of_week(parts[5], dialect.fields[5], dialect)
    if dialect is QUARTZ:
        weekday >>= 1
    weekday = (weekday | weekday >> 7) & ANY_WEEKDAY  # 7 is Sunday too
    if dialect is VIXIE:
        day, weekday = either_day(parts, day, month, weekday)
    return kind(
        second=clock[0][0],
        minute=clock[1][0],
        hour=clock[2][0],
        day=day,
        month=month,
        weekday=weekday,
        last=last,
        nearest=nearest,
        nth=nth,
        interval=any(interval for _, interval in clock),
        text=text,
    )


# The schedule: search for the times of an expression.


@dataclass(frozen=True)
class CronSchedule(CronFields, Schedule):
    """A cron expression, parsed by ``CronSchedule.parse``; equal when the meaning is equal.

    ``CronFields`` documents the attributes.
    """

    @classmethod
    def parse(
        cls, text: str, *, dialect: str = "cronos", seconds: bool | None = None
    ) -> CronSchedule:
        """Parse an expression.

        Args:
            text: Five fields, six with the seconds first, or a macro such as ``@daily``.
            dialect: The dialect of the expression; see ``convert``.
            seconds: True accepts six fields only, False five only, None both. For Cronos only.

        Raises:
            CronError: With the column of the error and what is allowed there.
        """
        reader = dialect_named(dialect)
        if reader is not CRONOS or seconds is None:
            return read(cls, text, reader, reader.counts)
        return read(cls, text, reader, (6,) if seconds else (5,))

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first time later than ``after`` (``inclusive``: or equal); None without such a time.

        As in Cronos, ``inclusive`` does not find a time that a gap has moved to ``after``.
        """
        zone = as_zone(zone)
        try:
            here = wall_clock(after, zone)
            start = here.replace(tzinfo=None, microsecond=0, fold=0)
            if not inclusive or here.microsecond:
                start += SECOND
            if (self.interval or here.fold) and (overlap := overlap_around(here)):
                return self._next_in_overlap(here, start, overlap)
            wall = self._first_from(start)
            return None if wall is None else resolve(wall, zone)
        except OverflowError:  # the end of the calendar
            return None

    def _next_in_overlap(
        self, here: datetime, start: datetime, overlap: tuple[datetime, datetime]
    ) -> datetime | None:
        """Search the rest of the first pass, then the second pass, then the time after the overlap."""
        zone = here.tzinfo
        assert zone is not None
        again, end = overlap
        if not here.fold:
            wall = self._first_from(start)
            if wall is not None and wall < end:
                return pin(wall.replace(tzinfo=zone))
            start = again
        if self.interval:
            wall = self._first_from(start)
            if wall is not None and wall < end:
                return pin(wall.replace(tzinfo=zone, fold=1))
        wall = self._first_from(end)
        return None if wall is None else resolve(wall, zone)

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the last time of ``iter`` earlier than ``before``; None without such a time."""
        zone = as_zone(zone)
        try:
            return self._previous(before, zone)
        except OverflowError:  # the beginning of the calendar
            return None

    def _previous(self, before: datetime, zone: tzinfo) -> datetime | None:
        here = wall_clock(before, zone)
        local = here.replace(tzinfo=None, fold=0)
        if here.fold and (overlap := overlap_around(here)):
            wall = self._last_before(local)
            if self.interval and wall is not None and wall >= overlap[0]:
                return pin(wall.replace(tzinfo=zone, fold=1))
            local = overlap[1]
        while (wall := self._last_before(local)) is not None:
            moment = resolve(wall, zone)
            again = pin(wall.replace(tzinfo=zone, fold=1))
            if self.interval and moment < again < before:
                return again
            if moment < before:
                return moment
            # `wall` is in a gap that ends at `before`: continue from the start of the gap.
            local = moment.astimezone(UTC).replace(tzinfo=None) + offset_of(
                wall.replace(tzinfo=zone)
            )
        return None

    def matches(self, local: datetime) -> bool:
        """Return whether the fields match a wall-clock time, regardless of zones."""
        clock = self.second >> local.second & self.minute >> local.minute & self.hour >> local.hour
        return bool(clock & 1) and self.matches_day(local)

    def matches_day(self, day: date) -> bool:
        """Return whether the day fields match a date."""
        return bool(self._days(day.year, day.month) >> day.day & 1)

    # Search by wall clock.

    @cached_property
    def _later(self) -> tuple[list[int], list[int], list[int]]:
        """The first matching value at or after each number, or -1; for second, minute and hour."""
        return (_later(self.second, 60), _later(self.minute, 60), _later(self.hour, 24))

    @cached_property
    def _earliest(self) -> tuple[int, int, int]:
        """The first matching time of day."""
        return lowest(self.hour), lowest(self.minute), lowest(self.second)

    @cached_property
    def _latest(self) -> tuple[int, int, int]:
        """The last matching time of day."""
        return highest(self.hour), highest(self.minute), highest(self.second)

    @cached_property
    def _months(self) -> dict[int, int]:
        """Cache of matching days, by first weekday and length of the month."""
        return {}

    def _days(self, year: int, month: int) -> int:
        """Return the matching days of a month, as bits."""
        if not self.month >> month & 1:
            return 0
        first = date(year, month, 1).isoweekday() % 7
        length = month_length(year, month)
        days = self._months.get(first * 32 + length)
        if days is None:
            days = self._months[first * 32 + length] = self.matching_days(first, length)
        return days

    def _first_from(self, start: datetime) -> datetime | None:
        """Return the first matching wall-clock time at or after ``start``."""
        year, month, day = start.year, start.month, start.day
        days = self._days(year, month) >> day
        if days & 1:
            clock = self._clock_from(start.hour, start.minute, start.second)
            if clock is not None:
                return naive(year, month, day, *clock)
        if days := days >> 1:
            day += 1 + lowest(days)
        elif not self.reachable:
            return None
        else:
            while not days:
                year, month = (year + month // 12, month % 12 + 1)
                if year > MAXYEAR:
                    return None
                days = self._days(year, month)
            day = lowest(days)
        return naive(year, month, day, *self._earliest)

    def _clock_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """Return the first matching time of day at or after the given one."""
        seconds, minutes, hours = self._later
        if hours[hour] == hour:
            if minutes[minute] == minute and seconds[second] >= 0:
                return hour, minute, seconds[second]
            if minutes[minute + 1] >= 0:
                return hour, minutes[minute + 1], seconds[0]
        if hours[hour + 1] >= 0:
            return hours[hour + 1], minutes[0], seconds[0]
        return None

    def _last_before(self, end: datetime) -> datetime | None:
        """Return the last matching wall-clock time before ``end``."""
        end = end.replace(microsecond=0) if end.microsecond else end - SECOND
        year, month, day = end.year, end.month, end.day
        days = self._days(year, month)
        if days >> day & 1:
            clock = self._clock_until(end.hour, end.minute, end.second)
            if clock is not None:
                return naive(year, month, day, *clock)
        days &= (1 << day) - 1
        if not days and not self.reachable:
            return None
        while not days:
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
            if year < MINYEAR:
                return None
            days = self._days(year, month)
        return naive(year, month, highest(days), *self._latest)

    def _clock_until(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """Return the last matching time of day at or before the given one."""
        if self.hour >> hour & 1:
            seconds = self.second & ((2 << second) - 1)
            if self.minute >> minute & 1 and seconds:
                return hour, minute, highest(seconds)
            if minutes := self.minute & ((1 << minute) - 1):
                return hour, highest(minutes), self._latest[2]
        if hours := self.hour & ((1 << hour) - 1):
            return highest(hours), *self._latest[1:]
        return None

    @cached_property
    def normal(self) -> str:
        """The shortest common form of the expression; parses to an equal schedule."""
        return normal_form(self)

    def __str__(self) -> str:
        return self.text

    def describe(self, language: Language = ENGLISH) -> str:
        """Return the schedule in words that continue "runs ...", as in "at 02:00 every day"."""
        return describe(self, language)


def convert(text: str, dialect: str) -> CronSchedule:
    """Return the schedule equal to an expression of another scheduler.

    The dates and times are equal. At clock changes the rules of this package apply, since an
    expression does not define the other scheduler's behaviour there.

    Args:
        text: The expression.
        dialect: ``cronos`` (Hangfire), ``ncrontab`` (NCrontab 3, Azure Functions), ``vixie`` (Unix
            cron) or ``quartz``.

    Raises:
        CronError: The dialect refuses the expression, or this package has no equal expression;
            the message gives the reason.
    """
    return CronSchedule.parse(text, dialect=dialect)


def _later(bits: int, size: int) -> list[int]:
    """Return the first value in the set at or after each number up to ``size``, or -1."""
    places = []
    for n in range(size + 1):
        rest = bits >> n
        places.append(n + lowest(rest) if rest else -1)
    return places
