"""TaskManager of the ``cron`` shape: read cron texts field by field, and simulate the runner.

croniter reads Vixie cron's texts; this module reads the other dialects. Error handling is minimal, because texts that no dialect
accepts have been refused before.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache, partial
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.wall_clock import WallClock

# The days and minutes that a cron text names.

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
_SINGLE = re.compile(r"^(\d+)-\1(/\d+)?$")
_WHOLE = ("0-59", "0-23", "1-31", "1-12", "0-6")
_BACKWARDS = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class CronText:
    """The days and minutes that a cron text names.

    Attributes:
        times: Pairs of hour and minute.
        names: Returns whether the text names a day.
        has_seconds: Whether a field of seconds names anything but the full minute.
    """

    times: frozenset[tuple[int, int]]
    names: Callable[[date], bool]
    has_seconds: bool


def read_cron_text(text: str, dialect: str) -> CronText:
    """Read a cron text.

    Args:
        text: A text that is valid in its dialect.
        dialect: ``cronos``, ``ncrontab``, ``vixie`` or ``quartz``.

    Raises:
        ValueError: The text cannot be read.
    """
    fields = _MACROS.get(text.strip().lower(), text).lower().split()
    if dialect == "vixie":
        return _vixie(fields)
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
        partial(_names, frozenset(_values(month, 1, 12)), day, weekday),
        _values(seconds, 0, 59) != {0},
    )


def _vixie(fields: list[str]) -> CronText:
    """Read five fields by croniter.

    Fields are rewritten where croniter 7 differs from Vixie cron: for croniter ``5-5`` is every value, and a ``*`` after the first part
    of a list counts as a ``*`` at the start. croniter also differs at clock changes: see ``parity/readings.py``.

    Raises:
        ValueError: The number of fields is not five, or croniter refuses the fields.
    """
    if len(fields) != _FIVE:
        raise ValueError(" ".join(fields))
    from croniter import croniter  # slow to import

    fields[3:] = _named(fields[3], _MONTHS, 1), _named(fields[4], _DAYS, 0)
    plain = [_plainly(field, whole) for field, whole in zip(fields, _WHOLE, strict=True)]
    minutes, hours = croniter.expand(" ".join(plain))[0][:2]
    times = frozenset((h, m) for h in _numbers(hours, 24) for m in _numbers(minutes, 60))
    return CronText(times, partial(_is_vixie_day, " ".join(plain[2:])), has_seconds=False)


def _plainly(field: str, whole: str) -> str:
    """Write a field so that croniter reads the field as Vixie cron does.

    Args:
        field: The field, with numbers for names.
        whole: The range of all its values.
    """
    parts = [_SINGLE.sub(r"\1", part) for part in field.split(",")]
    if not field.startswith("*"):  # only a star at the start lets the other day field decide
        return ",".join(part.replace("*", whole) for part in parts)
    return "*" if "*" in parts else ",".join(parts)


def _numbers(expanded: Collection[int | str], size: int) -> Iterable[int]:
    """Return the numbers of a field that croniter has expanded."""
    return range(size) if "*" in expanded else [int(number) for number in expanded]


def _is_vixie_day(days: str, on: date) -> bool:
    return date(on.year, on.month, on.day) in _vixie_days(days, on.year)  # `on` may be a datetime


@lru_cache(maxsize=64)
def _vixie_days(days: str, year: int) -> frozenset[date]:
    """Return the days of a year that croniter finds.

    Args:
        days: The fields of days, months and weekdays.
        year: The year.
    """
    from croniter import CroniterBadDateError, croniter

    # In Vixie cron a day field that begins with a star leaves the decision to the other day field; croniter has an option for that.
    walk = croniter(
        f"0 0 {days}",
        datetime(year - 1, 12, 31, 12),  # noqa: DTZ001 - a time of the wall clock
        ret_type=datetime,
        implement_cron_bug=True,
        max_years_between_matches=2,
    )
    result = set()
    try:
        while (day := walk.get_next().date()).year == year:
            result.add(day)
    except CroniterBadDateError:  # no more days
        pass
    return frozenset(result)


def _turned(match: re.Match[str]) -> str:
    """Write a range from its lower to its higher end, as NCrontab reads the range."""
    ends = sorted(map(int, match.groups()))
    return f"{ends[0]}-{ends[1]}"


def _named(field: str, names: tuple[str, ...], first: int) -> str:
    for number, name in enumerate(names, first):
        field = field.replace(name, str(number))
    return field


def _shifted(field: str) -> str:
    """Renumber Quartz's weekdays from Sunday = 1 to Sunday = 0."""
    numbered = _named(field, _DAYS, 1)
    parts = []
    for part in numbered.split(","):
        number, mark, rest = part.partition("#")
        number = "7" if number == "l" else number  # Saturday
        body, slash, step = number.partition("/")
        ends = [
            _NUMBER.sub(lambda numbered: str(int(numbered[0]) - 1), end) for end in body.split("-")
        ]
        parts.append("-".join(ends) + slash + step + mark + rest)
    return ",".join(parts)


def _values(field: str, low: int, high: int) -> set[int]:
    """Return the numbers that a field names; a range may wrap around."""
    result: set[int] = set()
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
        result |= {(n - low) % size + low for n in range(start, stop + 1, int(step or 1))}
    return result


def _names(months: frozenset[int], day: str, weekday: str, on: date) -> bool:
    """Return whether a text names a day.

    Args:
        months: The months of the text.
        day: The field of days, in lower case.
        weekday: The field of weekdays, in lower case; Sunday is 0.
        on: The day.
    """
    if on.month not in months:
        return False
    by_day = any(_is_day(part, on) for part in day.split(","))
    return by_day and any(_is_weekday(part, on) for part in weekday.split(","))


def _is_day(part: str, on: date) -> bool:
    """Return whether a part of the day-of-month field, such as ``5``, ``1-7``, ``l-2`` or ``15w``, matches a date."""
    last = calendar.monthrange(on.year, on.month)[1]
    if part.endswith("w"):
        number = part.removesuffix("w")
        wanted = last - int(number[2:] or 0) if number.startswith("l") else int(number)
        return wanted <= last and on == _nearest(on.replace(day=wanted))
    if part.startswith("l"):
        return on.day == last - int(part[2:] or 0)
    return on.day in _values(part, 1, 31)


def _nearest(day: date) -> date:
    """Return the nearest day from Monday to Friday in the same month."""
    last = calendar.monthrange(day.year, day.month)[1]
    if day.weekday() == _SATURDAY:
        return day - timedelta(days=1) if day.day > 1 else day + timedelta(days=2)
    if day.weekday() > _SATURDAY:
        return day + timedelta(days=1) if day.day < last else day - timedelta(days=2)
    return day


def _is_weekday(part: str, on: date) -> bool:
    """Return whether a part of the field of weekdays names a day."""
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
    """Return the numbers of weekdays; 7 is Sunday too."""
    body, slash, step = part.partition("/")
    first, dash, last = body.partition("-")
    start = 0 if first in {"*", "?"} else int(first)
    stop = int(last) if dash else 6 if slash or first in {"*", "?"} else start
    if stop < start:
        stop += _WEEK
    return set(range(start, stop + 1, int(step or 1)))


# The runner: each minute, by its machine's clock, it starts the rows that are due.

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


class Polling(StrEnum):
    """The rule for a due row. The rule is not documented, so the owner has to choose."""

    MINUTE = "minute"
    """The cron text matches the minute of the clock: a skipped minute does not run, a repeated minute runs twice."""
    NEXT_RUN = "next-run"
    """``NextRun`` has passed; then the next time is computed. A time in a gap runs right after the gap; no time runs again when the clock
    goes back.
    """


def vixie_polling(text: str) -> Polling:
    """Return the rule of Vixie cron for a text, by the manual page cron(8), for clock changes of less than three hours.

    A job with ``*`` as minute or hour follows the clock; a job at fixed times runs once, right after a gap.
    """
    fields = text.split()
    by_clock = len(fields) == _FIVE and "*" in (fields[0][0], fields[1][0])
    return Polling.MINUTE if by_clock or text.strip().lower() == "@hourly" else Polling.NEXT_RUN


def cronos_polling(text: str) -> Polling:
    """Return the rule of Cronos for a text, with or without seconds: ``*``, ``-`` or ``/`` as minute or hour follows the clock."""
    fields = _MACROS.get(text.strip().lower(), text).split()
    clock = fields[:2] if len(fields) == _FIVE else fields[1:3]
    by_clock = any(mark in field for field in clock for mark in "*/-")
    return Polling.MINUTE if by_clock else Polling.NEXT_RUN


def cron_runs(
    text: CronText,
    zone: ZoneInfo,
    start: datetime,
    end: datetime,
    polling: Polling,
    *,
    length: timedelta = timedelta(0),
) -> Iterator[datetime]:
    """Yield the instants in ``[start, end)`` of a row's runs.

    Args:
        text: The row's cron text.
        zone: The zone of the machine.
        start: An aware instant.
        end: An aware instant.
        polling: The rule for a due row.
        length: The duration of a run; the server looks again after the run.
    """
    clock = WallClock(zone, start - _DAY, end + _DAY)
    walls = _walls(text, clock.shown(start).date() - _DAY, clock.shown(end).date() + _DAY)
    if polling is Polling.MINUTE:
        runs = _by_minute(walls, zone, length)
    else:
        assert polling is Polling.NEXT_RUN
        runs = _by_next_run(list(walls), clock, start - _DAY, length)
    return iter(sorted(moment for moment in runs if start <= moment < end))


def _walls(text: CronText, first: date, last: date) -> Iterator[datetime]:
    """Yield the wall times that a text names, in order."""
    times = sorted(text.times)
    day = first
    while day <= last:
        if text.names(day):
            for hour, minute in times:
                yield datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001
        day += _DAY


def _by_minute(walls: Iterator[datetime], zone: ZoneInfo, length: timedelta) -> Iterator[datetime]:
    named = {
        moment
        for wall in walls
        for fold in (0, 1)
        if (moment := wall.replace(tzinfo=zone, fold=fold).astimezone(UTC))
        .astimezone(zone)
        .replace(tzinfo=None, fold=0)
        == wall
    }
    free = datetime.min.replace(tzinfo=UTC)
    for moment in sorted(named):
        if moment >= free:
            yield moment
            free = moment + length


def _by_next_run(
    walls: Sequence[datetime], clock: WallClock, begin: datetime, length: timedelta
) -> Iterator[datetime]:
    """Yield each time when reached; skip times that the clock has passed when a run ends."""
    now = begin
    while (place := bisect_right(walls, clock.shown(now))) < len(walls):
        slot = clock.reached(walls[place], now)
        yield slot
        now = slot + length
