"""Describe a cron schedule and a duration in words; parse durations such as ``1h30m``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Protocol

from .dialects import CRONOS_FIELDS
from .errors import CronError, Part
from .fields import ANY_DAY, ANY_WEEKDAY, CronFields, numbers_in

# A cron schedule as text: its shortest expression, and a description in words.


def normal_form(fields: CronFields) -> str:
    """Return the shortest common expression with the same meaning."""
    clock = [
        _spell(bits, spec.low, spec.high, ranges=fields.interval)
        for bits, spec in zip(
            (fields.second, fields.minute, fields.hour), CRONOS_FIELDS[:3], strict=True
        )
    ]
    if fields.interval and not re.search(r"[*/-]", " ".join(clock)):
        # Without another range or step, a range of one value keeps the expression an interval.
        first, comma, rest = clock[1].partition(",")
        clock[1] = f"{first}-{first}{comma}{rest}"
    if clock[0] == "0":
        del clock[0]
    month = _spell(fields.month, 1, 12, ranges=True)
    return " ".join((*clock, _spell_day(fields), month, _spell_weekday(fields)))


def _spell_day(fields: CronFields) -> str:
    """Return the field day of month."""
    if fields.last is None:
        days = _spell(fields.day, 1, 31, ranges=True)
    else:
        days = f"L-{fields.last}" if fields.last else "L"
    return f"{days}W" if fields.nearest else days


_NO_WEEKDAY = "7-0/7"
"""In Cronos, a range from 7 that wraps around with a step may contain no day; then the job does not run."""


def _spell_weekday(fields: CronFields) -> str:
    """Return the field day of week."""
    if not fields.weekday:
        return _NO_WEEKDAY
    days = "*" if fields.weekday == ANY_WEEKDAY else _spell(fields.weekday, 0, 7, ranges=True)
    return days + {0: "", -1: "L"}.get(fields.nth, f"#{fields.nth}")


def _spell(bits: int, low: int, high: int, *, ranges: bool) -> str:
    """Return the text of a field with these values; without ``ranges``, return a list of single values."""
    numbers = numbers_in(bits)
    if not ranges:
        return ",".join(map(str, numbers))
    if numbers == list(range(low, high + 1)):
        return "*"
    if len(numbers) > 2 and (step := _even_step(numbers, low, high)) > 1:  # noqa: PLR2004
        return f"*/{step}"
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in _runs(numbers))


def _even_step(numbers: list[int], low: int, high: int) -> int:
    """Return the step of ``*/step`` that gives these numbers, or 0."""
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 0
    return step if step and numbers == list(range(low, high + 1, step)) else 0


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Return the first and last number of each series of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for n in numbers:
        if runs and runs[-1][1] == n - 1:
            runs[-1] = runs[-1][0], n
        else:
            runs.append((n, n))
    return runs


# Languages: the phrases of a description are messages that a language translates.


class Language(Protocol):
    """Translate the phrases of a description and fill in their placeholders."""

    def gettext(self, message: str, **values: object) -> str:
        """Translate a phrase."""

    def ngettext(self, one: str, many: str, number: int) -> str:
        """Translate a phrase with a number, ``%(num)s``."""


class English:
    """The language of the phrases in the code."""

    def gettext(self, message: str, **values: object) -> str:
        """Fill in the placeholders."""
        return message % values

    def ngettext(self, one: str, many: str, number: int) -> str:
        """Choose singular or plural and fill in the number."""
        return (one if number == 1 else many) % {"num": number}


ENGLISH = English()


def marked(message: str) -> str:
    """Mark a phrase for translation and return the phrase."""
    return message


_WEEKDAY_NAMES = (
    marked("Sunday"),
    marked("Monday"),
    marked("Tuesday"),
    marked("Wednesday"),
    marked("Thursday"),
    marked("Friday"),
    marked("Saturday"),
)
_MONTH_NAMES = (
    marked("January"),
    marked("February"),
    marked("March"),
    marked("April"),
    marked("May"),
    marked("June"),
    marked("July"),
    marked("August"),
    marked("September"),
    marked("October"),
    marked("November"),
    marked("December"),
)
_PLACES = (
    "",
    marked("the first %(weekday)s"),
    marked("the second %(weekday)s"),
    marked("the third %(weekday)s"),
    marked("the fourth %(weekday)s"),
    marked("the fifth %(weekday)s"),
    marked("the last %(weekday)s"),
)
_ORDINALS = {1: marked("%(number)sst"), 2: marked("%(number)snd"), 3: marked("%(number)srd")}
_ORDINAL = marked("%(number)sth")
_READABLE = 6
"""Maximum number of single values in a description; longer lists use a shorter form where possible."""


def describe(fields: CronFields, language: Language = ENGLISH) -> str:
    """Return words that continue "runs ...", as in "at 02:00 every day"."""
    return _Description(fields, language).words()


def join(words: Iterable[str], last: str = "and") -> str:
    """Return "a", "a and b", "a, b and c"; needs one word at least."""
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end


class _Description:
    """A cron schedule in the words of a language.

    Args:
        fields: The schedule.
        language: The language.
    """

    def __init__(self, fields: CronFields, language: Language) -> None:
        self._fields = fields
        self._say = language

    def words(self) -> str:
        """Return the times and the days."""
        say = self._say
        if not self._fields.weekday:
            return say.gettext("never (its range of weekdays holds no day)")
        times, days = self.times(), self._days()
        if not days and self._has_fixed_times():
            days = say.gettext(" every day")
        words = times + days
        if self._fields.reachable:
            return words
        return say.gettext("never (%(words)s: there is no such date)", words=words)

    def _clock(self) -> tuple[list[int], list[int], list[int]]:
        fields = self._fields
        return numbers_in(fields.second), numbers_in(fields.minute), numbers_in(fields.hour)

    def _has_fixed_times(self) -> bool:
        """Return whether the description names times of a day only, without "every"."""
        times = _Description(self._fields, ENGLISH).times()
        return times.startswith("at ") and "every" not in times

    def _join(self, words: Iterable[str]) -> str:
        """Return "a", "a and b", "a, b and c"; needs one word at least."""
        *most, end = words
        if not most:
            return end
        return self._say.gettext("%(names)s and %(last)s", names=", ".join(most), last=end)

    def _ordinal(self, number: int) -> str:
        """Return "1st", "22nd" and the like."""
        teens = number % 100 in range(10, 20)
        message = _ORDINAL if teens else _ORDINALS.get(number % 10, _ORDINAL)
        return self._say.gettext(message, number=number)

    def _list(self, numbers: list[int], name: Callable[[int], str] = str) -> str:
        """Return numbers as a list in words; three or more consecutive numbers become "a to b"."""
        words: list[str] = []
        for first, last in _runs(numbers):
            if last - first > 1:
                words.append(
                    self._say.gettext("%(first)s to %(last)s", first=name(first), last=name(last))
                )
            else:
                words += [name(number) for number in range(first, last + 1)]
        return self._join(words)

    # Times of a day.

    def times(self) -> str:
        """Return the times of a day, as in "at 02:00"."""
        seconds, minutes, hours = self._clock()
        say = self._say
        if seconds == [0]:
            return self._minutes(minutes, hours)
        if math.prod(map(len, (seconds, minutes, hours))) <= _READABLE:
            times = [f"{h:02}:{m:02}:{s:02}" for h in hours for m in minutes for s in seconds]
            return say.gettext("at %(times)s", times=self._join(times))
        every, listed = self._every_second(seconds), self._list(seconds)
        several = len(seconds) > 1
        if minutes == _SIXTY:
            if not every and several:
                every = say.gettext("at seconds %(seconds)s of every minute", seconds=listed)
            elif not every:
                every = say.gettext("at second %(seconds)s of every minute", seconds=listed)
            return every + self._within(hours, 0, 59)
        if every:
            within = say.gettext("%(every)s for a minute", every=every)
        elif several:
            within = say.gettext("at seconds %(seconds)s of the minute", seconds=listed)
        else:
            within = say.gettext("at second %(seconds)s of the minute", seconds=listed)
        return f"{within}, {self._minutes(minutes, hours)}"

    def _minutes(self, minutes: list[int], hours: list[int]) -> str:
        """Return the times of a day at full minutes."""
        say = self._say
        if len(minutes) * len(hours) <= _READABLE and hours != _DAY_HOURS:
            times = self._join(f"{h:02}:{m:02}" for h in hours for m in minutes)
            return say.gettext("at %(times)s", times=times)
        first, last = minutes[0], minutes[-1]
        if len(minutes) == 1:
            return self._hourly(first, hours)
        if len(hours) == 1 and _runs(minutes) == [(first, last)]:
            return say.gettext("every minute") + self._within(hours, first, last)
        every = self._every_minute(minutes)
        if every and first and hours == _DAY_HOURS:
            return say.gettext("%(every)s, from minute %(minute)s", every=every, minute=first)
        listed = self._list(minutes)
        past = every or say.gettext("at %(minutes)s minutes past every hour", minutes=listed)
        return past + self._within(hours, first, last)

    def _hourly(self, minute: int, hours: list[int]) -> str:
        """Return the times of a day at one minute of several hours."""
        say = self._say
        if hours == _DAY_HOURS:
            if not minute:
                return say.gettext("every hour")
            past = say.ngettext("%(num)s minute", "%(num)s minutes", minute)
            return say.gettext("at %(minutes)s past every hour", minutes=past)
        if every := self._every_hour(hours):
            start = hours[0], minute
            if start == (0, 0):
                return every
            at = f"{start[0]:02}:{minute:02}"
            return say.gettext("%(every)s, from %(time)s", every=every, time=at)
        if all(last - first > 1 for first, last in _runs(hours)):
            return say.gettext("every hour") + self._within(hours, minute, minute)
        return say.gettext("at %(times)s", times=self._join(f"{h:02}:{minute:02}" for h in hours))

    def _every_second(self, numbers: list[int]) -> str:
        step = _step_of(numbers, 60)
        if step == 1:
            return self._say.gettext("every second")
        return self._say.gettext("every %(number)s seconds", number=step) if step else ""

    def _every_minute(self, numbers: list[int]) -> str:
        step = _step_of(numbers, 60)
        if step == 1:
            return self._say.gettext("every minute")
        return self._say.gettext("every %(number)s minutes", number=step) if step else ""

    def _every_hour(self, numbers: list[int]) -> str:
        step = _step_of(numbers, 24)
        return self._say.gettext("every %(number)s hours", number=step) if step else ""

    def _within(self, hours: list[int], first: int, last: int) -> str:
        """Return " from 09:00 to 17:50" for hours and their first and last minute; "" for all hours."""
        if hours == _DAY_HOURS:
            return ""
        spans = [
            self._say.gettext(
                "%(first)s to %(last)s", first=f"{early:02}:{first:02}", last=f"{late:02}:{last:02}"
            )
            for early, late in _runs(hours)
        ]
        return self._say.gettext(" from %(spans)s", spans=self._join(spans))

    # Days.

    def _days(self) -> str:
        """Return the days, beginning with a blank or a comma; "" for every day."""
        fields, say = self._fields, self._say
        any_date = fields.day == ANY_DAY and fields.last is None
        any_weekday = fields.weekday == ANY_WEEKDAY and not fields.nth
        months = numbers_in(fields.month)
        if not any_date:
            values = {"dates": self._dates(), "months": self._months(months)}
            if any_weekday:
                return say.gettext(" on %(dates)s of %(months)s", **values)
            return say.gettext(
                " on %(dates)s of %(months)s, only when that is %(weekday)s",
                **values,
                weekday=self._which_weekday(),
            )
        if fields.nth:
            dates = self._nth_weekday()
            return say.gettext(
                " on %(dates)s of %(months)s", dates=dates, months=self._months(months)
            )
        words = "" if any_weekday else self._weekdays(_week(fields))
        if len(months) == 12:  # noqa: PLR2004 - every month
            return words
        return (words or say.gettext(" every day")) + self._in_months(months)

    def _months(self, months: list[int]) -> str:
        """Return the months, to stand after "of"."""
        if len(months) == 12:  # noqa: PLR2004 - all of them
            return self._say.gettext("every month")
        if _is_range(months):
            return self._say.gettext(
                "every month from %(first)s to %(last)s", **self._first_and_last(months)
            )
        return self._join(self._say.gettext(_MONTH_NAMES[month - 1]) for month in months)

    def _in_months(self, months: list[int]) -> str:
        """Return " in January" and the like."""
        if _is_range(months):
            return self._say.gettext(" from %(first)s to %(last)s", **self._first_and_last(months))
        return self._say.gettext(" in %(months)s", months=self._months(months))

    def _first_and_last(self, months: list[int]) -> dict[str, str]:
        first, last = (
            self._say.gettext(_MONTH_NAMES[month - 1]) for month in months[:: len(months) - 1]
        )
        return {"first": first, "last": last}

    def _weekday(self, day: int) -> str:
        """Return the name of a weekday; Sunday is 0 or 7."""
        return self._say.gettext(_WEEKDAY_NAMES[day % 7])

    def _weekdays(self, days: list[int]) -> str:
        """Return weekdays that need no date, as in " every Monday" and ", Monday to Friday"."""
        if len(days) == 1:
            return self._say.gettext(" every %(weekday)s", weekday=self._weekday(days[0]))
        listed = self._list(days, self._weekday)
        if len(days) > 2 and len(_runs(days)) == 1:  # noqa: PLR2004
            return f", {listed}"
        return self._say.gettext(" on %(weekdays)s", weekdays=listed)

    def _nth_weekday(self) -> str:
        """Return "the first Tuesday" and the like."""
        weekday = self._weekday(_week(self._fields)[0])
        return self._say.gettext(_PLACES[self._fields.nth], weekday=weekday)

    def _which_weekday(self) -> str:
        """Return the weekday that a date must also have, as in "a Friday"."""
        say = self._say
        if self._fields.nth:
            return say.gettext("%(weekday)s of the month", weekday=self._nth_weekday())
        days = _week(self._fields)
        if len(days) > 2 and len(_runs(days)) == 1:  # noqa: PLR2004 - three or more in a row
            return say.gettext("a day from %(days)s", days=self._list(days, self._weekday))
        *most, end = [say.gettext("a %(weekday)s", weekday=self._weekday(day)) for day in days]
        if not most:
            return end
        return say.gettext("%(names)s or %(last)s", names=", ".join(most), last=end)

    def _dates(self) -> str:
        """Return the days of the month, as in "the 1st and 15th" and "the last day"."""
        fields, say = self._fields, self._say
        if fields.last is None:
            days = numbers_in(fields.day)
            step = _even_step(days, days[0], 31)
            if step > 1 and len(days) > _READABLE:
                return say.gettext(
                    "every %(step)s day from the %(first)s",
                    step=self._ordinal(step),
                    first=self._ordinal(days[0]),
                )
            words = say.gettext("the %(days)s", days=self._list(days, self._ordinal))
        elif fields.last:
            day = self._ordinal(fields.last)
            words = say.gettext("the %(day)s day before the last day", day=day)
        elif fields.nearest:
            return say.gettext("the last weekday (Monday to Friday)")
        else:
            words = say.gettext("the last day")
        if fields.nearest:
            return say.gettext("the weekday (Monday to Friday) nearest to %(date)s", date=words)
        return words


_SIXTY, _DAY_HOURS = list(range(60)), list(range(24))


def _step_of(numbers: list[int], size: int) -> int:
    """Return the step when the numbers are evenly spaced over the whole range, else 0."""
    if len(numbers) == size:
        return 1
    step = size // len(numbers)
    even = len(numbers) > 1 and numbers == list(range(numbers[0], size, step))
    return step if even and not size % step else 0


def _is_range(months: list[int]) -> bool:
    """Return whether the months are more than three in a row."""
    return len(months) > 3 and len(_runs(months)) == 1  # noqa: PLR2004 - as many as read well


def _week(fields: CronFields) -> list[int]:
    """Return the days of the week, Monday first, Sunday being 7."""
    return sorted(day or 7 for day in numbers_in(fields.weekday))


# Durations: ``90s``, ``15m``, ``1h30m``, ``2d``, ``500ms``.

_UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}

_DURATION_HINT = (
    "Write numbers with w, d, h, m, s or ms, largest first: 90s, 15m, 1h30m, 2d, 500ms."
)

_LONGEST_DURATION = timedelta(days=36525)


def parse_duration(text: str) -> timedelta:
    """Read a duration such as ``90s``, ``15m``, ``1h30m``, ``2d`` or ``500ms``.

    Raises:
        CronError: The text is not a duration, or the duration is longer than a hundred years.
    """
    total, at, units = timedelta(0), 0, list(_UNITS)
    for match in re.finditer(r"([0-9]{1,9})(ms|[wdhms])", text):
        if match.start() != at or match[2] not in units:
            break
        del units[: units.index(match[2]) + 1]
        at = match.end()
        if int(match[1]) > (_LONGEST_DURATION - total) / _UNITS[match[2]]:
            raise CronError("longer than a hundred years", text=text, allowed=_DURATION_HINT)
        total += int(match[1]) * _UNITS[match[2]]
    if at == 0 or at != len(text):
        part = Part(text, at, text[at:])
        part.fail(f'"{Part(text, 0, text).shown}" is not a duration', _DURATION_HINT)
    return total


def _duration_parts(duration: timedelta) -> list[tuple[int, str]]:
    """Return the nonzero counts of days, hours and smaller units, with their units."""
    parts, rest = [], duration
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append((count, unit))
    return parts


def format_duration(duration: timedelta) -> str:
    """Return a duration in the format of ``parse_duration``, such as ``1h30m``; without microseconds."""
    return "".join(f"{count}{unit}" for count, unit in _duration_parts(duration)) or "0s"


def duration_words(duration: timedelta, language: Language = ENGLISH) -> str:
    """Return a duration in words, such as "1 hour and 30 minutes"; without microseconds."""
    words = [_unit_words(count, unit, language) for count, unit in _duration_parts(duration)]
    if not words:
        return language.ngettext("%(num)s second", "%(num)s seconds", 0)
    *most, end = words
    if not most:
        return end
    return language.gettext("%(names)s and %(last)s", names=", ".join(most), last=end)


def _unit_words(count: int, unit: str, language: Language) -> str:
    match unit:
        case "d":
            return language.ngettext("%(num)s day", "%(num)s days", count)
        case "h":
            return language.ngettext("%(num)s hour", "%(num)s hours", count)
        case "m":
            return language.ngettext("%(num)s minute", "%(num)s minutes", count)
        case "s":
            return language.ngettext("%(num)s second", "%(num)s seconds", count)
        case _:
            return language.ngettext("%(num)s millisecond", "%(num)s milliseconds", count)
