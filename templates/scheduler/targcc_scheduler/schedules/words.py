"""Describe a cron schedule and a duration in English; parse durations such as ``1h30m``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import timedelta

from .dialects import CRONOS_FIELDS, MONTHS, WEEKDAYS
from .errors import CronError, Part
from .fields import ANY_DAY, ANY_WEEKDAY, CronFields, numbers_in

# A cron schedule as text: its shortest expression, and a description in English.


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


_READABLE = 6
"""Maximum number of single values in a description; longer lists use a shorter form where possible."""


def describe(fields: CronFields) -> str:
    """Return words that continue "runs ...", as in "at 02:00 every day"."""
    if not fields.weekday:
        return "never (its range of weekdays holds no day)"
    clock = numbers_in(fields.second), numbers_in(fields.minute), numbers_in(fields.hour)
    times, days = _time_words(*clock), _day_words(fields)
    if not days and (times.startswith("at ") and "every" not in times):
        days = " every day"
    words = times + days
    return words if fields.reachable else f"never ({words}: there is no such date)"


def plural(count: int, word: str) -> str:
    """Return "1 hour", "2 hours" and the like."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _ordinal(n: int) -> str:
    """Return "1st", "22nd" and the like."""
    teens = n % 100 in range(10, 20)
    return f"{n}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def join(words: Iterable[str], last: str = "and") -> str:
    """Return "a", "a and b", "a, b and c"; needs one word at least."""
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end


def _list_words(numbers: list[int], name: Callable[[int], str] = str) -> str:
    """Return numbers as a list in words; three or more consecutive numbers become "a to b"."""
    words: list[str] = []
    for first, last in _runs(numbers):
        if last - first > 1:
            words.append(f"{name(first)} to {name(last)}")
        else:
            words += [name(n) for n in range(first, last + 1)]
    return join(words)


def _time_words(seconds: list[int], minutes: list[int], hours: list[int]) -> str:
    """Return the times of a day, as in "at 02:00"."""
    if seconds == [0]:
        return _minute_words(minutes, hours)
    if math.prod(map(len, (seconds, minutes, hours))) <= _READABLE:
        times = [f"{h:02}:{m:02}:{s:02}" for h in hours for m in minutes for s in seconds]
        return f"at {join(times)}"
    every = _every_words(seconds, 60, "second")
    at = f"at second{'s' if len(seconds) > 1 else ''} {_list_words(seconds)}"
    if minutes == _SIXTY:
        return (every or f"{at} of every minute") + _within(hours, 0, 59)
    within = f"{every} for a minute" if every else f"{at} of the minute"
    return f"{within}, {_minute_words(minutes, hours)}"


def _minute_words(minutes: list[int], hours: list[int]) -> str:
    """Return the times of a day at full minutes."""
    if len(minutes) * len(hours) <= _READABLE and hours != _DAY_HOURS:
        return f"at {join(f'{h:02}:{m:02}' for h in hours for m in minutes)}"
    first, last = minutes[0], minutes[-1]
    if len(minutes) == 1:
        return _hourly_words(first, hours)
    if len(hours) == 1 and _runs(minutes) == [(first, last)]:
        return f"every minute{_within(hours, first, last)}"
    every = _every_words(minutes, 60, "minute")
    if every and first and hours == _DAY_HOURS:
        return f"{every}, from minute {first}"
    past = every or f"at {_list_words(minutes)} minutes past every hour"
    return past + _within(hours, first, last)


def _hourly_words(minute: int, hours: list[int]) -> str:
    """Return the times of a day at one minute of several hours."""
    if hours == _DAY_HOURS:
        return f"at {plural(minute, 'minute')} past every hour" if minute else "every hour"
    if every := _every_words(hours, 24, "hour"):
        start = hours[0], minute
        return every if start == (0, 0) else f"{every}, from {start[0]:02}:{minute:02}"
    if all(last - first > 1 for first, last in _runs(hours)):
        return f"every hour{_within(hours, minute, minute)}"
    return f"at {join(f'{hour:02}:{minute:02}' for hour in hours)}"


_SIXTY, _DAY_HOURS = list(range(60)), list(range(24))


def _every_words(numbers: list[int], size: int, word: str) -> str:
    """Return "every 5 minutes" when the numbers are evenly spaced over the whole range, else ""."""
    if len(numbers) == size:
        return f"every {word}"
    step = size // len(numbers)
    even = len(numbers) > 1 and numbers == list(range(numbers[0], size, step))
    return f"every {step} {word}s" if even and not size % step else ""


def _within(hours: list[int], first: int, last: int) -> str:
    """Return " from 09:00 to 17:50" for hours and their first and last minute; "" for all hours."""
    if hours == _DAY_HOURS:
        return ""
    spans = [f"{early:02}:{first:02} to {late:02}:{last:02}" for early, late in _runs(hours)]
    return f" from {join(spans)}"


def _day_words(fields: CronFields) -> str:
    """Return the days, beginning with a blank or a comma; "" for every day."""
    any_date = fields.day == ANY_DAY and fields.last is None
    any_weekday = fields.weekday == ANY_WEEKDAY and not fields.nth
    months = numbers_in(fields.month)
    if not any_date:
        dates = f" on {_date_words(fields)} of {_month_words(months)}"
        return dates if any_weekday else f"{dates}, only when that is {_which_weekday(fields)}"
    if fields.nth:
        return f" on {_nth_weekday(fields)} of {_month_words(months)}"
    words = "" if any_weekday else _weekday_words(_week(fields))
    if len(months) == 12:  # noqa: PLR2004 - every month
        return words
    which = _month_words(months)
    which = which.removeprefix("every month ") if "from" in which else f"in {which}"
    return f"{words or ' every day'} {which}"


def _month_words(months: list[int]) -> str:
    """Return the months, to stand after "of"."""
    if len(months) == 12:  # noqa: PLR2004 - all of them
        return "every month"
    names = [MONTHS[month - 1] for month in months]
    if len(months) > 3 and len(_runs(months)) == 1:  # noqa: PLR2004 - as many as read well
        return f"every month from {names[0]} to {names[-1]}"
    return join(names)


def _week(fields: CronFields) -> list[int]:
    """Return the days of the week, Monday first, Sunday being 7."""
    return sorted(day or 7 for day in numbers_in(fields.weekday))


def _weekday_name(day: int) -> str:
    """Return the name of a weekday; Sunday is 0 or 7."""
    return WEEKDAYS[day % 7]


def _weekday_words(days: list[int]) -> str:
    """Return weekdays that need no date, as in " every Monday" and ", Monday to Friday"."""
    if len(days) == 1:
        return f" every {_weekday_name(days[0])}"
    joint = "," if len(days) > 2 and len(_runs(days)) == 1 else " on"  # noqa: PLR2004
    return f"{joint} {_list_words(days, _weekday_name)}"


def _nth_weekday(fields: CronFields) -> str:
    """Return "the first Tuesday" and the like."""
    which = ("", "first", "second", "third", "fourth", "fifth", "last")[fields.nth]
    return f"the {which} {_weekday_name(_week(fields)[0])}"


def _which_weekday(fields: CronFields) -> str:
    """Return the weekday that a date must also have, as in "a Friday"."""
    if fields.nth:
        return f"{_nth_weekday(fields)} of the month"
    days = _week(fields)
    if len(days) > 2 and len(_runs(days)) == 1:  # noqa: PLR2004 - three or more in a row
        return f"a day from {_list_words(days, _weekday_name)}"
    return join((f"a {_weekday_name(day)}" for day in days), "or")


def _date_words(fields: CronFields) -> str:
    """Return the days of the month, as in "the 1st and 15th" and "the last day"."""
    if fields.last is None:
        days = numbers_in(fields.day)
        step = _even_step(days, days[0], 31)
        if step > 1 and len(days) > _READABLE:
            return f"every {_ordinal(step)} day from the {_ordinal(days[0])}"
        words = f"the {_list_words(days, _ordinal)}"
    elif fields.last:
        words = f"the {_ordinal(fields.last)} day before the last day"
    elif fields.nearest:
        return "the last weekday (Monday to Friday)"
    else:
        words = "the last day"
    return f"the weekday (Monday to Friday) nearest to {words}" if fields.nearest else words


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


def duration_words(duration: timedelta) -> str:
    """Return a duration in words, such as "1 hour and 30 minutes"; without microseconds."""
    names = {"d": "day", "h": "hour", "m": "minute", "s": "second", "ms": "millisecond"}
    parts = _duration_parts(duration)
    return join(plural(count, names[unit]) for count, unit in parts) if parts else "0 seconds"
