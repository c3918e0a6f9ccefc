# Managed by targcc-gen, the same in the generator and in every project: regenerate merges your edits.
"""When a job is due: cron expressions, intervals, delays and single dates, in a time zone.

The rules are those of Cronos 0.11, the parser that Hangfire embeds, so that a job keeps its hour
when it moves:

* five fields (minute, hour, day of month, month, day of week), or six with the seconds first;
* day of month AND day of week, when both are given;
* a time that the clock skips in spring runs at the first moment after the gap;
* a time that the clock repeats in autumn runs once, at the first pass. An *interval* expression,
  one with ``*``, a range or a step in its second, minute or hour field, runs through both passes.

Every schedule answers ``next``, ``previous``, ``iter``, ``between`` and ``describe``. The datetimes
it returns show the zone's wall clock with a fixed offset: they compare and hash as the instants
they are, also in the hour that comes twice, where two datetimes of one ``ZoneInfo`` would compare
by wall clock.

Standard library only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta, timezone, tzinfo
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import NamedTuple, NoReturn, Protocol
from zoneinfo import ZoneInfo

FIELDS_HINT = (
    "Five fields are minute, hour, day of month, month, day of week; six put seconds first."
)
_QUARTZ_HINT = (
    "Quartz has second, minute, hour, day of month, month, day of week, and may have year."
)
MAX_LENGTH = 1000
"""Longest expression that is read: every value of every field listed is shorter."""

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


# --- Errors -------------------------------------------------------------------------------------


class CronError(ValueError):
    """A schedule, a duration or a zone that cannot be read.

    Args:
        message: What is wrong, in one line.
        text: The text that was read.
        column: Where it is wrong, counted from 1.
        length: How many characters are wrong.
        allowed: What is allowed there, or what to do instead.
    """

    def __init__(
        self, message: str, *, text: str, column: int = 1, length: int = 0, allowed: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.text = text
        self.column = column
        self.length = length or max(1, len(text) - column + 1)
        self.allowed = allowed

    def frame(self) -> str:
        """Return the message, the text with carets under the fault, and what is allowed."""
        start = max(0, self.column - 40)
        shown = "".join(c if c.isprintable() else " " for c in self.text[start : start + 76])
        carets = "^" * max(1, min(self.length, len(shown) - (self.column - 1 - start)))
        lines = [self.message, f"  {shown}", f"  {' ' * (self.column - 1 - start)}{carets}"]
        return "\n".join([*lines, f"  {self.allowed}"] if self.allowed else lines)


class _Part(NamedTuple):
    """A piece of an expression that knows where it stands, so that an error can point at it."""

    whole: str
    start: int
    text: str

    @property
    def shown(self) -> str:
        """The piece, fit to stand in a message."""
        text = "".join(c if c.isprintable() else "?" for c in self.text[:40])
        return text + "..." * (len(self.text) > len(text))

    def fail(self, message: str, allowed: str = FIELDS_HINT) -> NoReturn:
        raise CronError(
            message,
            text=self.whole,
            column=min(self.start, len(self.whole)) + 1,
            length=max(1, len(self.text)),
            allowed=allowed,
        )

    def split(self, separator: str) -> list[_Part]:
        """Cut at every ``separator``; the pieces keep their places."""
        pieces, at = [], self.start
        for piece in self.text.split(separator):
            pieces.append(_Part(self.whole, at, piece))
            at += len(piece) + len(separator)
        return pieces

    def cut(self, end: int) -> _Part:
        """Return the first ``end`` characters."""
        return _Part(self.whole, self.start, self.text[:end])


# --- Fields and dialects ------------------------------------------------------------------------

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


class _Field(NamedTuple):
    """One field of an expression."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = MappingProxyType({})

    @property
    def hint(self) -> str:
        """What may stand in the field, in a sentence."""
        article = "An" if self.name == "hour" else "A"
        names = list(self.names)
        named = f" or {names[0]}-{names[-1]}" if names else ""
        special = {
            "day of month": ", L, L-3, LW, or 15W",
            "day of week": ", 5L (the last Friday), or 2#1 (the first Tuesday)",
        }
        return (
            f"{article} {self.name} is {self.low}-{self.high}{named}, *, a range 2-4, a step */2, "
            f"a list 2,4{special.get(self.name, '')}."
        )


def _short_names(names: Iterable[str], first: int) -> dict[str, int]:
    return {name[:3].upper(): number for number, name in enumerate(names, first)}


_CRONOS_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _short_names(_MONTHS, 1)),
    _Field("day of week", 0, 7, _short_names(_WEEKDAYS, 0)),
)


class _Dialect(NamedTuple):
    """How a family of schedulers reads the fields that all of them share.

    Args:
        name: The dialect's name.
        fields: Its fields, seconds first.
        counts: How many fields an expression may have.
        wraps: A range that ends before it starts: goes ``around``, is ``swap``ped, or ``refuse``d.
        star_in_list: Whether ``*`` may be one of several values.
        open_step: Whether ``5/15`` means from 5 to the end.
        specials: Whether there are ``L``, ``W``, ``#`` and ``?``.
        strict: Whether a step must fit the field and a number has two digits at most.
    """

    name: str
    fields: tuple[_Field, ...]
    counts: tuple[int, ...] = (5, 6)
    wraps: str = "around"
    star_in_list: bool = True
    open_step: bool = True
    specials: bool = False
    strict: bool = False


_CRONOS = _Dialect("cronos", _CRONOS_FIELDS, star_in_list=False, specials=True, strict=True)
# NCrontab 3: names in full or any beginning of them, no second Sunday, a range is sorted when read.
_NCRONTAB = _Dialect(
    "ncrontab",
    (
        *_CRONOS_FIELDS[:4],
        _Field("month", 1, 12, {name.upper(): n for n, name in enumerate(_MONTHS, 1)}),
        _Field("day of week", 0, 6, {name.upper(): n for n, name in enumerate(_WEEKDAYS)}),
    ),
    wraps="swap",
)
# Vixie cron: when neither day field begins with * the job runs on days that match either of them;
# steps follow a range or *.
_VIXIE = _Dialect("vixie", _CRONOS_FIELDS, counts=(5,), wraps="refuse", open_step=False)
# Quartz: seconds first, an optional year last, Sunday is 1.
_QUARTZ = _Dialect(
    "quartz",
    (*_CRONOS_FIELDS[:5], _Field("day of week", 1, 7, _short_names(_WEEKDAYS, 1))),
    counts=(6, 7),
    specials=True,
)
_DIALECTS = {dialect.name: dialect for dialect in (_CRONOS, _NCRONTAB, _VIXIE, _QUARTZ)}
DIALECTS = tuple(_DIALECTS)
"""Names that ``convert`` and ``CronSchedule.parse`` take."""

_MACROS = {
    "@every_second": "* * * * * *",
    "@every_minute": "* * * * *",
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


# --- Reading one field --------------------------------------------------------------------------


def _value(part: _Part, spec: _Field, dialect: _Dialect) -> int:
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
        if name == text.upper() or (dialect is _NCRONTAB and name.startswith(text.upper())):
            return number
    return part.fail(f'"{part.shown}" is no {spec.name}', spec.hint)


def _step(part: _Part, spec: _Field, dialect: _Dialect) -> int:
    """Read what follows a slash."""
    text = part.text
    if not text:
        part.fail(f"a step is missing in {spec.name}", spec.hint)
    if not (text.isascii() and text.isdigit()) or len(text) > (2 if dialect.strict else 9):
        part.fail(f'"{part.shown}" is not a step for {spec.name}', spec.hint)
    highest = spec.high if dialect.strict else 10**9
    if not 1 <= int(text) <= highest:
        part.fail(f"step {int(text)} is not between 1 and {spec.high}", spec.hint)
    return int(text)


def _span(spec: _Field, low: int, high: int, step: int) -> int:
    """Return the bits of ``low-high/step``; a range that ends before it starts goes round."""
    if low <= high:
        return sum(1 << n for n in range(low, high + 1, step))
    # Sunday has two numbers where a week is 0-7; the round trip counts it once.
    last = 6 if (spec.low, spec.high) == (0, 7) else spec.high
    again = spec.low + step - int(math.fmod(last - low, step)) - 1
    turn = range(low, last + 1, step), range(again, high + 1, step)
    return sum(1 << n for n in {*turn[0], *turn[1]})


def _item(part: _Part, spec: _Field, dialect: _Dialect) -> tuple[int, bool]:
    """Read one item of a list; return its bits and whether it is a ``*``, a range or a step."""
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


_OTHER_STARS = {("?", "cronos", False), ("?", "cronos", True), ("", "quartz", True)}
"""What else means every value: Cronos reads ``?`` as ``*``, and Quartz ``/5`` as ``*/5``."""


def _ends(
    low: int, rest: list[_Part], head: _Part, spec: _Field, dialect: _Dialect
) -> tuple[int, int]:
    """Read the end of a range; return both ends as the dialect understands them."""
    if len(rest) > 1:
        rest[1].fail(f"{spec.name} has a range of three values", spec.hint)
    high = _value(rest[0], spec, dialect)
    if low > high and dialect.wraps == "refuse":
        head.fail(f"{dialect.name} refuses a range that ends before it starts", spec.hint)
    return (high, low) if low > high and dialect.wraps == "swap" else (low, high)


def _list(part: _Part, spec: _Field, dialect: _Dialect) -> tuple[int, bool]:
    """Read a field; return its bits and whether it has a ``*``, a range or a step."""
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
_ANY_DAY = (1 << 32) - 2


def _day_of_month(part: _Part, spec: _Field, dialect: _Dialect) -> tuple[int, int | None, bool]:
    """Read the day of month: bits, days before the month's last, whether the nearest weekday."""
    if dialect.specials and (found := _LAST_DAY.fullmatch(part.text)):
        back = int(found[1] or 0) if len(found[1] or "") <= 2 else 99  # noqa: PLR2004 - as Cronos
        if back > spec.high - 1:
            part.fail(f"{part.shown} is not between L-0 and L-{spec.high - 1}", spec.hint)
        return _ANY_DAY, back, bool(found[2])
    if dialect.specials and (found := _NEAREST.fullmatch(part.text)):
        return 1 << _value(part.cut(len(found[1])), spec, dialect), None, True
    return _list(part, spec, dialect)[0], None, False


def _day_of_week(part: _Part, spec: _Field, dialect: _Dialect) -> tuple[int, int]:
    """Read the day of week: bits, and which of the month (1-5, -1 the last, 0 every one)."""
    if dialect.specials and "#" in part.text:
        day, number, *more = part.split("#")
        if more or number.text not in ("1", "2", "3", "4", "5", "01", "02", "03", "04", "05"):
            part.fail(f"{part.shown} does not name the first to fifth day of the month", spec.hint)
        return 1 << _value(day, spec, dialect), int(number.text)
    if dialect.specials and len(part.text) > 1 and part.text[-1] in "Ll":
        return 1 << _value(part.cut(len(part.text) - 1), spec, dialect), -1
    return _list(part, spec, dialect)[0], 0


# --- Reading an expression ----------------------------------------------------------------------


_FIVE = 5
"""Fields of an expression without seconds."""


def _parts(text: str, counts: tuple[int, ...]) -> list[_Part]:
    """Cut an expression at its blanks; six or more parts, the first being the seconds."""
    if len(text) > MAX_LENGTH:
        whole = _Part(text, 0, text)
        whole.fail(f"the expression has {len(text)} characters", f"{MAX_LENGTH} at most.")
    parts = [_Part(text, m.start(), m[0]) for m in re.finditer(r"[^ \t]+", text)]
    if len(parts) not in counts:
        extra = parts[max(counts)] if len(parts) > max(counts) else _Part(text, 0, text)
        wanted = " or ".join(str(n) for n in counts)
        hint = FIELDS_HINT if _FIVE in counts else _QUARTZ_HINT
        extra.fail(f"{_plural(len(parts), 'field')} instead of {wanted}", hint)
    if len(parts) == _FIVE:
        parts.insert(0, _Part("0", 0, "0"))
    return parts


def _macro(text: str, dialect: _Dialect) -> str | None:
    """Return the expression that ``@daily`` and its like stand for, None when it is no macro."""
    word = text.strip(" \t")
    if not word.startswith("@") or dialect not in (_CRONOS, _VIXIE):
        return None
    # Vixie has no name for every minute or second.
    known = {
        name: meant for name, meant in _MACROS.items() if meant[0] == "0" or dialect is _CRONOS
    }
    if word.lower() not in known:
        part = _Part(text, text.index("@"), word)
        part.fail(f"{part.shown} is not known", f"There are {', '.join(known)}.")
    return known[word.lower()]


def convert(text: str, dialect: str) -> CronSchedule:
    """Read ``text`` as another scheduler would and return the equal schedule.

    The dates and times are equal. What the other scheduler does on the two nights a year when the
    clock changes is not part of its expression: the rules of this module hold.

    Args:
        text: The expression.
        dialect: ``cronos`` (Hangfire), ``ncrontab`` (NCrontab 3, Azure Functions), ``vixie`` (Unix
            cron) or ``quartz``.

    Raises:
        CronError: The dialect refuses it, or no expression of ours is equal; it says why.
    """
    reader = _DIALECTS.get(dialect)
    if reader is None:
        known = f"There are {', '.join(DIALECTS)}."
        raise CronError(f'no dialect "{dialect}"', text=dialect, allowed=known)
    return _read(text, reader, reader.counts)


def _read(text: str, dialect: _Dialect, counts: tuple[int, ...]) -> CronSchedule:
    macro = _macro(text, dialect)
    parts = _parts(macro, (5, 6)) if macro else _parts(text, counts)
    if dialect is _QUARTZ:
        parts = _plain_quartz(parts)
    clock = [_list(parts[place], dialect.fields[place], dialect) for place in range(3)]
    day, last, nearest = _day_of_month(parts[3], dialect.fields[3], dialect)
    month, _ = _list(parts[4], dialect.fields[4], dialect)
    weekday, nth = _day_of_week(parts[5], dialect.fields[5], dialect)
    if dialect is _QUARTZ:
        weekday >>= 1
    weekday = (weekday | weekday >> 7) & 0x7F
    if dialect is _VIXIE:
        day, weekday = _either_day(parts, day, month, weekday)
    return CronSchedule(
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


def _plain_quartz(parts: list[_Part]) -> list[_Part]:
    """Refuse what only Quartz can say, and spell ``?`` and a lone ``L`` the common way."""
    days, weekdays, years = parts[3], parts[5], parts[6:]
    if years and years[0].text != "*":
        years[0].fail("a year cannot be said", "Leave it out, and remove the job when it is over.")
    if days.text == weekdays.text == "?":
        weekdays.fail("? stands in both day fields", "Quartz wants * or a day in one of them.")
    if not {days.text, weekdays.text} & {"?", "*"}:
        reason = "Quartz refuses that: one of them must be ?."
        weekdays.fail("day of month and day of week are both given", reason)
    for part in (days, weekdays):
        if part.text[-1] in "Cc":
            part.fail("C asks a Quartz calendar", "Calendars have no equal here.")
        if "," in part.text and re.search(r"(^|,)L|L(,|$)|[0-9]W|LW|#", part.text.upper()):
            part.fail("L, W and # in a list", "Split it into one job for each.")
    spelling = {"?": "*", "L": "7", "l": "7"}
    parts[3] = days._replace(text="*" if days.text == "?" else days.text)
    parts[5] = weekdays._replace(text=spelling.get(weekdays.text, weekdays.text))
    return parts


def _either_day(parts: list[_Part], day: int, month: int, weekday: int) -> tuple[int, int]:
    """Turn vixie's "either day matches" into day AND weekday, where that is possible."""
    if parts[3].text.startswith("*") or parts[5].text.startswith("*"):
        return day, weekday
    if day == _ANY_DAY or weekday == _ANY_WEEKDAY:
        return _ANY_DAY, _ANY_WEEKDAY
    longest = max(_LONGEST[n] for n in _numbers(month))
    if not day & ((2 << longest) - 1):
        return _ANY_DAY, weekday
    return parts[5].fail(
        "vixie runs on the day of month OR the day of week; one expression here means both",
        "Split it into two jobs: one with * as day of week, one with * as day of month.",
    )


# --- Bits ---------------------------------------------------------------------------------------

_ANY_WEEKDAY = 0x7F
_LONGEST = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _numbers(bits: int) -> list[int]:
    """Return the places of the set bits."""
    return [n for n in range(bits.bit_length()) if bits >> n & 1]


def _local(year: int, month: int, day: int, *clock: int) -> datetime:
    """Return a wall-clock time: a datetime without a zone."""
    hour, minute, second = clock or (0, 0, 0)
    return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - that is the point


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def _highest(bits: int) -> int:
    return bits.bit_length() - 1


def _month_length(year: int, month: int) -> int:
    if month == 2 and (year % 4 or (year % 100 == 0 and year % 400)):  # noqa: PLR2004 - February
        return 28
    return _LONGEST[month]


# --- Time zones ---------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def parse_zone(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name, such as ``Asia/Jerusalem``.

    Raises:
        CronError: There is none; ``allowed`` suggests the nearest names.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # an unsafe path, a folder, an unknown name
        shown = _Part(name, 0, name).shown
        raise CronError(
            f'no time zone "{shown}"', text=name, allowed=_nearest_zones(name)
        ) from None


def _nearest_zones(name: str) -> str:
    from difflib import get_close_matches
    from zoneinfo import available_timezones

    zones = {zone.lower(): zone for zone in sorted(available_timezones())}
    cities = {zone.rpartition("/")[2]: zone for zone in zones}
    wanted = name.lower().strip().replace(" ", "_")
    near = get_close_matches(wanted, zones, n=1, cutoff=0.8)
    cities_near = get_close_matches(wanted.rpartition("/")[2], cities, n=1, cutoff=0.8)
    near += [cities[city] for city in cities_near]
    if not near:
        return "Write an IANA name such as Europe/London."
    return "did you mean " + " or ".join(f'"{zones[zone]}"' for zone in dict.fromkeys(near)) + "?"


def _zone(zone: Zone) -> tzinfo:
    return parse_zone(zone) if isinstance(zone, str) else zone


@lru_cache(maxsize=256)
def _fixed(offset: timedelta, name: str) -> timezone:
    return timezone(offset, name)


def _offset(moment: datetime) -> timedelta:
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError(f"{moment} has no time zone")
    return offset


def _pin(moment: datetime) -> datetime:
    """Give a datetime of a zone the fixed offset it has there."""
    zone = _fixed(_offset(moment), moment.tzname() or "")
    return moment.replace(tzinfo=zone, fold=0)


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    """Return an instant as the zone's clocks show it; ``fold`` is 1 in a second pass only."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).astimezone(zone)


def _transition(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the instant in ``(before, after]``, both UTC, at which the zone's offset changes."""
    old = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle <= before:
            middle = before + _SECOND
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


def _resolve(local: datetime, zone: tzinfo) -> datetime:
    """Return the instant of a wall-clock time: of two the first, in a gap the moment after it."""
    first = local.replace(tzinfo=zone)
    early, late = _offset(first), _offset(first.replace(fold=1))
    if early >= late:
        return _pin(first)
    return _pin(_transition(_utc(local, late), _utc(local, early), zone).astimezone(zone))


def _utc(local: datetime, offset: timedelta) -> datetime:
    return local.replace(tzinfo=UTC) - offset


def _overlap(here: datetime) -> tuple[datetime, datetime] | None:
    """Return the wall-clock times between which the clock runs twice around ``here``, or None."""
    first, second = _offset(here.replace(fold=0)), _offset(here.replace(fold=1))
    if first <= second:
        return None
    assert here.tzinfo is not None
    local = here.replace(tzinfo=None, fold=0)
    change = _transition(_utc(local, first), _utc(local, second), here.tzinfo).replace(tzinfo=None)
    return change + second, change + first


# --- Schedules ----------------------------------------------------------------------------------


Zone = tzinfo | str
"""A ``ZoneInfo``, or the name of one."""


class Schedule(Protocol):
    """When a job is due."""

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first time later than ``after`` (or at it), or None when there is none."""

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the last time earlier than ``before``, or None when there is none."""

    def describe(self) -> str:
        """Return the schedule in words that continue "runs ...", as in "at 02:00 every day"."""

    def iter(self, after: datetime, zone: Zone) -> Iterator[datetime]:
        """Yield the times later than ``after``, in order."""
        zone = _zone(zone)
        moment = self.next(after, zone)
        while moment is not None:
            yield moment
            moment = self.next(moment, zone)

    def between(self, start: datetime, end: datetime, zone: Zone) -> Iterator[datetime]:
        """Yield the times from ``start`` up to, and not including, ``end``."""
        # Not `inclusive`: a time that was moved to the end of a gap belongs to `start` although
        # it does not match it.
        for moment in self.iter(_wall(start, UTC) - timedelta(microseconds=1), zone):
            if moment >= end:
                return
            yield moment


@dataclass(frozen=True)
class CronSchedule(Schedule):
    """A cron expression, read by ``CronSchedule.parse``. Two are equal when they mean the same.

    Attributes:
        second, minute, hour, day, month, weekday: Values as bits: bit 5 of ``minute`` is minute 5.
        last: Days before the last day of the month (0: the last day), None without ``L``.
        nearest: The weekday (Monday to Friday) nearest to that day, within the month (``W``).
        nth: Which ``weekday`` of the month: 1-5 (``#``), -1 the last (``L``), 0 every one.
        interval: Whether it runs through both passes of a repeated hour.
        text: The expression as it was written.
    """

    second: int
    minute: int
    hour: int
    day: int
    month: int
    weekday: int
    last: int | None
    nearest: bool
    nth: int
    interval: bool
    text: str = field(compare=False)

    @classmethod
    def parse(
        cls, text: str, *, dialect: str = "cronos", seconds: bool | None = None
    ) -> CronSchedule:
        """Read an expression.

        Args:
            text: Five fields, six with the seconds first, or a macro such as ``@daily``.
            dialect: How to read it; see ``convert``.
            seconds: True: six fields only; False: five only; None: either.

        Raises:
            CronError: With the column of the fault and what is allowed there.
        """
        if dialect != "cronos" or seconds is None:
            return convert(text, dialect)
        return _read(text, _CRONOS, (6,) if seconds else (5,))

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first time later than ``after``, or at it when ``inclusive``; or None.

        As in Cronos, ``inclusive`` does not find a time that a gap has moved there.
        """
        zone = _zone(zone)
        try:
            here = _wall(after, zone)
            start = here.replace(tzinfo=None, microsecond=0, fold=0)
            if not inclusive or here.microsecond:
                start += _SECOND
            if (self.interval or here.fold) and (overlap := _overlap(here)):
                return self._next_in_overlap(here, start, overlap)
            found = self._first_from(start)
            return None if found is None else _resolve(found, zone)
        except OverflowError:  # the end of the calendar
            return None

    def _next_in_overlap(
        self, here: datetime, start: datetime, overlap: tuple[datetime, datetime]
    ) -> datetime | None:
        """Search the rest of a first pass, the second pass, and then the time after it."""
        zone = here.tzinfo
        assert zone is not None
        again, end = overlap
        if not here.fold:
            found = self._first_from(start)
            if found is not None and found < end:
                return _pin(found.replace(tzinfo=zone))
            start = again
        if self.interval:
            found = self._first_from(start)
            if found is not None and found < end:
                return _pin(found.replace(tzinfo=zone, fold=1))
        found = self._first_from(end)
        return None if found is None else _resolve(found, zone)

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the last of the times that ``iter`` yields earlier than ``before``; or None."""
        zone = _zone(zone)
        try:
            return self._previous(before, zone)
        except OverflowError:  # the beginning of the calendar
            return None

    def _previous(self, before: datetime, zone: tzinfo) -> datetime | None:
        here = _wall(before, zone)
        local = here.replace(tzinfo=None, fold=0)
        if here.fold and (overlap := _overlap(here)):
            found = self._last_before(local)
            if self.interval and found is not None and found >= overlap[0]:
                return _pin(found.replace(tzinfo=zone, fold=1))
            local = overlap[1]
        while (found := self._last_before(local)) is not None:
            moment = _resolve(found, zone)
            again = _pin(found.replace(tzinfo=zone, fold=1))
            if self.interval and moment < again < before:
                return again
            if moment < before:
                return moment
            # `before` ends the gap that `found` fell into: go on from where the gap begins.
            local = moment.astimezone(UTC).replace(tzinfo=None) + _offset(
                found.replace(tzinfo=zone)
            )
        return None

    def matches(self, local: datetime) -> bool:
        """Whether a wall-clock time is one of its times, by its fields alone."""
        clock = self.second >> local.second & self.minute >> local.minute & self.hour >> local.hour
        return bool(clock & 1) and self.matches_day(local)

    def matches_day(self, day: date) -> bool:
        """Whether it has times on a day."""
        return bool(self._days(day.year, day.month) >> day.day & 1)

    # Searching the calendar, by wall clock.

    @cached_property
    def _later(self) -> tuple[list[int], list[int], list[int]]:
        """For second, minute and hour: the first value at or after each number, or -1."""
        return (_later(self.second, 60), _later(self.minute, 60), _later(self.hour, 24))

    @cached_property
    def _earliest(self) -> tuple[int, int, int]:
        """The first time of day that matches."""
        return _lowest(self.hour), _lowest(self.minute), _lowest(self.second)

    @cached_property
    def _latest(self) -> tuple[int, int, int]:
        """The last time of day that matches."""
        return _highest(self.hour), _highest(self.minute), _highest(self.second)

    @cached_property
    def _months(self) -> dict[int, int]:
        """The days that match, by a month's first weekday and its length; filled as met."""
        return {}

    def _days(self, year: int, month: int) -> int:
        """Return the days of a month that match, as bits."""
        if not self.month >> month & 1:
            return 0
        first = date(year, month, 1).isoweekday() % 7
        length = _month_length(year, month)
        days = self._months.get(first * 32 + length)
        if days is None:
            days = self._months[first * 32 + length] = _matching_days(self, first, length)
        return days

    @cached_property
    def reachable(self) -> bool:
        """Whether it ever runs: ``0 0 30 2 *`` does not. All months begin on all weekdays."""
        lengths = {_LONGEST[month] for month in _numbers(self.month)}
        if self.month >> 2 & 1:
            lengths.add(28)
        return any(_matching_days(self, first, length) for length in lengths for first in range(7))

    def _first_from(self, start: datetime) -> datetime | None:
        """Return the first matching wall-clock time at or after ``start``."""
        year, month, day = start.year, start.month, start.day
        days = self._days(year, month) >> day
        if days & 1:
            found = self._clock_from(start.hour, start.minute, start.second)
            if found is not None:
                return _local(year, month, day, *found)
        if days := days >> 1:
            day += 1 + _lowest(days)
        elif not self.reachable:
            return None
        else:
            while not days:
                year, month = (year + month // 12, month % 12 + 1)
                if year > MAXYEAR:
                    return None
                days = self._days(year, month)
            day = _lowest(days)
        return _local(year, month, day, *self._earliest)

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
        end = end.replace(microsecond=0) if end.microsecond else end - _SECOND
        year, month, day = end.year, end.month, end.day
        days = self._days(year, month)
        if days >> day & 1:
            found = self._clock_until(end.hour, end.minute, end.second)
            if found is not None:
                return _local(year, month, day, *found)
        days &= (1 << day) - 1
        if not days and not self.reachable:
            return None
        while not days:
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
            if year < MINYEAR:
                return None
            days = self._days(year, month)
        return _local(year, month, _highest(days), *self._latest)

    def _clock_until(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """Return the last matching time of day at or before the given one."""
        if self.hour >> hour & 1:
            seconds = self.second & ((2 << second) - 1)
            if self.minute >> minute & 1 and seconds:
                return hour, minute, _highest(seconds)
            if minutes := self.minute & ((1 << minute) - 1):
                return hour, _highest(minutes), self._latest[2]
        if hours := self.hour & ((1 << hour) - 1):
            return _highest(hours), *self._latest[1:]
        return None

    # Text.

    @cached_property
    def normal(self) -> str:
        """The expression in its shortest common form; reading it gives an equal schedule."""
        return _normal(self)

    def __str__(self) -> str:
        return self.text

    def describe(self) -> str:
        """Return the schedule in words that continue "runs ...", as in "at 02:00 every day"."""
        return _describe(self)


def _later(bits: int, size: int) -> list[int]:
    places = []
    for n in range(size + 1):
        rest = bits >> n
        places.append(n + _lowest(rest) if rest else -1)
    return places


def _matching_days(schedule: CronSchedule, first: int, length: int) -> int:
    """Return the days, as bits, of a month that begins on weekday ``first`` (0 is Sunday)."""
    days = schedule.day & ((2 << length) - 1)
    if schedule.last is not None:
        target = length - schedule.last
        days = 1 << target if target >= 1 else 0
    if schedule.nearest and days:
        days = 1 << _nearest_weekday(_lowest(days), first, length)
    return sum(1 << day for day in _numbers(days) if _is_weekday(schedule, day, first, length))


def _nearest_weekday(day: int, first: int, length: int) -> int:
    weekday = (first + day - 1) % 7
    if weekday == 6:  # noqa: PLR2004 - Saturday: Friday, or Monday when that is in the month before
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


def _is_weekday(schedule: CronSchedule, day: int, first: int, length: int) -> bool:
    if not schedule.weekday >> (first + day - 1) % 7 & 1:
        return False
    if schedule.nth == -1:
        return day > length - 7
    return schedule.nth in (0, (day + 6) // 7)


# --- Normal form --------------------------------------------------------------------------------


def _normal(schedule: CronSchedule) -> str:
    clock = [
        _spell(bits, spec.low, spec.high, ranges=schedule.interval)
        for bits, spec in zip(
            (schedule.second, schedule.minute, schedule.hour), _CRONOS_FIELDS[:3], strict=True
        )
    ]
    if schedule.interval and not re.search(r"[*/-]", " ".join(clock)):
        first, comma, rest = clock[1].partition(",")
        clock[1] = f"{first}-{first}{comma}{rest}"
    if clock[0] == "0":
        del clock[0]
    month = _spell(schedule.month, 1, 12, ranges=True)
    return " ".join((*clock, _spell_day(schedule), month, _spell_weekday(schedule)))


def _spell_day(schedule: CronSchedule) -> str:
    if schedule.last is None:
        days = _spell(schedule.day, 1, 31, ranges=True)
    else:
        days = f"L-{schedule.last}" if schedule.last else "L"
    return f"{days}W" if schedule.nearest else days


def _spell_weekday(schedule: CronSchedule) -> str:
    days = "*" if schedule.weekday == _ANY_WEEKDAY else _spell(schedule.weekday, 0, 7, ranges=True)
    return days + {0: "", -1: "L"}.get(schedule.nth, f"#{schedule.nth}")


def _spell(bits: int, low: int, high: int, *, ranges: bool) -> str:
    """Write a set of values; without ``ranges`` as a list of single ones."""
    numbers = _numbers(bits)
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
    """Group numbers into runs without a hole."""
    runs: list[tuple[int, int]] = []
    for n in numbers:
        if runs and runs[-1][1] == n - 1:
            runs[-1] = runs[-1][0], n
        else:
            runs.append((n, n))
    return runs


# --- Words -------------------------------------------------------------------------------------

_READABLE = 6
"""As many single values as read well in a row."""


def _describe(schedule: CronSchedule) -> str:
    clock = _numbers(schedule.second), _numbers(schedule.minute), _numbers(schedule.hour)
    times, days = _time_words(*clock), _day_words(schedule)
    if not days and (times.startswith("at ") and "every" not in times):
        days = " every day"
    words = times + days
    return words if schedule.reachable else f"never ({words}: there is no such date)"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _ordinal(n: int) -> str:
    teens = n % 100 in range(10, 20)
    return f"{n}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def _join(words: Iterable[str], last: str = "and") -> str:
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end


def _list_words(numbers: list[int], name: Callable[[int], str] = str) -> str:
    """Write numbers as a list in which three or more in a row are "a to b"."""
    words: list[str] = []
    for first, last in _runs(numbers):
        if last - first > 1:
            words.append(f"{name(first)} to {name(last)}")
        else:
            words += [name(n) for n in range(first, last + 1)]
    return _join(words)


def _time_words(seconds: list[int], minutes: list[int], hours: list[int]) -> str:
    """Say the times of a day."""
    if seconds == [0]:
        return _minute_words(minutes, hours)
    if math.prod(map(len, (seconds, minutes, hours))) <= _READABLE:
        times = [f"{h:02}:{m:02}:{s:02}" for h in hours for m in minutes for s in seconds]
        return f"at {_join(times)}"
    every = _every_words(seconds, 60, "second")
    at = f"at second{'s' if len(seconds) > 1 else ''} {_list_words(seconds)}"
    if minutes == _SIXTY:
        return (every or f"{at} of every minute") + _within(hours, 0, 59)
    within = f"{every} for a minute" if every else f"{at} of the minute"
    return f"{within}, {_minute_words(minutes, hours)}"


def _minute_words(minutes: list[int], hours: list[int]) -> str:
    """Say the times of a day, to the minute."""
    if len(minutes) * len(hours) <= _READABLE and hours != _DAY_HOURS:
        return f"at {_join(f'{h:02}:{m:02}' for h in hours for m in minutes)}"
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
    """Say at which hours, all at the same minute."""
    if hours == _DAY_HOURS:
        return f"at {_plural(minute, 'minute')} past every hour" if minute else "every hour"
    if every := _every_words(hours, 24, "hour"):
        start = hours[0], minute
        return every if start == (0, 0) else f"{every}, from {start[0]:02}:{minute:02}"
    if all(last - first > 1 for first, last in _runs(hours)):
        return f"every hour{_within(hours, minute, minute)}"
    return f"at {_join(f'{hour:02}:{minute:02}' for hour in hours)}"


_SIXTY, _DAY_HOURS = list(range(60)), list(range(24))


def _every_words(numbers: list[int], size: int, word: str) -> str:
    """Say "every 5 minutes" where that is true all the way round, else nothing."""
    if len(numbers) == size:
        return f"every {word}"
    step = size // len(numbers)
    even = len(numbers) > 1 and numbers == list(range(numbers[0], size, step))
    return f"every {step} {word}s" if even and not size % step else ""


def _within(hours: list[int], first: int, last: int) -> str:
    """Say within which hours, from first to last minute; nothing when it is all of them."""
    if hours == _DAY_HOURS:
        return ""
    spans = [f"{early:02}:{first:02} to {late:02}:{last:02}" for early, late in _runs(hours)]
    return f" from {_join(spans)}"


def _day_words(schedule: CronSchedule) -> str:
    """Say on which days, with a blank or a comma in front; nothing when it is every day."""
    any_date = schedule.day == _ANY_DAY and schedule.last is None
    any_weekday = schedule.weekday == _ANY_WEEKDAY and not schedule.nth
    months = _numbers(schedule.month)
    if not any_date:
        dates = f" on {_date_words(schedule)} of {_month_words(months)}"
        return dates if any_weekday else f"{dates}, only when that is {_which_weekday(schedule)}"
    if schedule.nth:
        return f" on {_nth_weekday(schedule)} of {_month_words(months)}"
    words = "" if any_weekday else _weekday_words(_week(schedule))
    if len(months) == 12:  # noqa: PLR2004 - every month
        return words
    which = _month_words(months)
    which = which.removeprefix("every month ") if "from" in which else f"in {which}"
    return f"{words or ' every day'} {which}"


def _month_words(months: list[int]) -> str:
    if len(months) == 12:  # noqa: PLR2004 - all of them
        return "every month"
    names = [_MONTHS[month - 1] for month in months]
    if len(months) > 3 and len(_runs(months)) == 1:  # noqa: PLR2004 - as many as read well
        return f"every month from {names[0]} to {names[-1]}"
    return _join(names)


def _week(schedule: CronSchedule) -> list[int]:
    """Return the days of the week, Monday first, Sunday being 7."""
    return sorted(day or 7 for day in _numbers(schedule.weekday))


def _weekday_name(day: int) -> str:
    return _WEEKDAYS[day % 7]


def _weekday_words(days: list[int]) -> str:
    if len(days) == 1:
        return f" every {_weekday_name(days[0])}"
    joint = "," if len(days) > 2 and len(_runs(days)) == 1 else " on"  # noqa: PLR2004
    return f"{joint} {_list_words(days, _weekday_name)}"


def _nth_weekday(schedule: CronSchedule) -> str:
    which = ("", "first", "second", "third", "fourth", "fifth", "last")[schedule.nth]
    return f"the {which} {_weekday_name(_week(schedule)[0])}"


def _which_weekday(schedule: CronSchedule) -> str:
    if schedule.nth:
        return f"{_nth_weekday(schedule)} of the month"
    days = _week(schedule)
    if len(days) > 2 and len(_runs(days)) == 1:  # noqa: PLR2004 - three or more in a row
        return f"a day from {_list_words(days, _weekday_name)}"
    return _join((f"a {_weekday_name(day)}" for day in days), "or")


def _date_words(schedule: CronSchedule) -> str:
    if schedule.last is None:
        days = _numbers(schedule.day)
        step = _even_step(days, days[0], 31)
        if step > 1 and len(days) > _READABLE:
            return f"every {_ordinal(step)} day from the {_ordinal(days[0])}"
        words = f"the {_list_words(days, _ordinal)}"
    elif schedule.last:
        words = f"the {_ordinal(schedule.last)} day before the last day"
    elif schedule.nearest:
        return "the last weekday (Monday to Friday)"
    else:
        words = "the last day"
    return f"the weekday (Monday to Friday) nearest to {words}" if schedule.nearest else words


# --- Intervals, delays and single dates ---------------------------------------------------------

_DEFAULT_ANCHOR = _local(2001, 1, 1)  # a Monday


@dataclass(frozen=True)
class EverySchedule(Schedule):
    """At a fixed rate from an anchor: what cron cannot say, such as every 90 minutes.

    The interval is elapsed time: on the night the clock changes the runs stay evenly spaced and
    their wall-clock time moves. An interval of whole days keeps its wall-clock time, with the
    rules of cron: a time in the gap runs at the first moment after it, one that comes twice runs at
    the first pass.

    Attributes:
        interval: One second at least.
        anchor: The first run; naive means wall-clock time in the schedule's zone. Default: midnight
            of Monday, 1 January 2001.

    Raises:
        CronError: The interval is shorter than a second.
    """

    interval: timedelta
    anchor: datetime | None = None

    def __post_init__(self) -> None:
        if self.interval < _SECOND:
            raise CronError(
                "an interval is one second at least",
                text=format_duration(self.interval),
                allowed="Write 90s, 15m, 1h30m, or 2d.",
            )

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first run later than ``after``, or at it when ``inclusive``."""
        zone = _zone(zone)
        try:
            turn = max(0, self._turns(after, zone) - 2)
            while (moment := self._at(turn, zone)) < after or (moment == after and not inclusive):
                turn += 1
        except OverflowError:  # the end of the calendar
            return None
        return moment

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the last run earlier than ``before``, or None when the anchor is not earlier."""
        zone = _zone(zone)
        for turn in range(self._turns(before, zone) + 2, -1, -1):
            if (moment := self._at(turn, zone)) < before:
                return moment
        return None

    def _turns(self, moment: datetime, zone: tzinfo) -> int:
        """Return how many intervals after the anchor it is, give or take a clock change."""
        return (_wall(moment, UTC) - self._at(0, zone)) // self.interval

    def _at(self, turn: int, zone: tzinfo) -> datetime:
        anchor = self.anchor or _DEFAULT_ANCHOR
        if anchor.tzinfo is not None:
            anchor = _wall(anchor, zone)
        elif self.interval % _DAY:
            anchor = _resolve(anchor, zone)
        if self.interval % _DAY:
            return _pin((anchor.astimezone(UTC) + turn * self.interval).astimezone(zone))
        return _resolve(anchor.replace(tzinfo=None, fold=0) + turn * self.interval, zone)

    def describe(self) -> str:
        """Return "every 15 minutes" and the like."""
        anchor = f" from {self.anchor:%Y-%m-%d %H:%M}" if self.anchor else ""
        words = duration_words(self.interval)
        alone = words.startswith("1 ") and " and " not in words
        return f"every {words.removeprefix('1 ') if alone else words}{anchor}"

    def __str__(self) -> str:
        return f"every {format_duration(self.interval)}"


@dataclass(frozen=True)
class AfterCompletionSchedule(Schedule):
    """A fixed delay after the previous run has ended; elapsed time, whatever the clock does.

    ``after`` of ``next`` is the end of the previous run. Past runs cannot be computed: ``previous``
    is always None.

    Raises:
        CronError: The delay is not positive.
    """

    delay: timedelta

    def __post_init__(self) -> None:
        if self.delay <= timedelta(0):
            raise CronError("a delay is longer than nothing", text=format_duration(self.delay))

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return ``after`` plus the delay; ``inclusive`` changes nothing."""
        del inclusive
        try:
            return _pin((_wall(after, UTC) + self.delay).astimezone(_zone(zone)))
        except OverflowError:  # the end of the calendar
            return None

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return None: it depends on when runs ended."""
        del before, zone
        return None

    def describe(self) -> str:
        """Return "5 minutes after the previous run ends" and the like."""
        return f"{duration_words(self.delay)} after the previous run ends"

    def __str__(self) -> str:
        return f"every {format_duration(self.delay)} after completion"


@dataclass(frozen=True)
class OnceSchedule(Schedule):
    """Once, at a time; naive means wall-clock time in the schedule's zone, by the rules of cron."""

    at: datetime

    def _moment(self, zone: Zone) -> datetime:
        zone = _zone(zone)
        return _resolve(self.at, zone) if self.at.tzinfo is None else _pin(_wall(self.at, zone))

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the time if it is later than ``after``, or at it when ``inclusive``."""
        moment = self._moment(zone)
        return moment if moment > after or (inclusive and moment == after) else None

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the time if it is earlier than ``before``."""
        moment = self._moment(zone)
        return moment if moment < before else None

    def describe(self) -> str:
        """Return "once, at 2026-12-31 02:00" and the like."""
        return f"once, at {self.at:%Y-%m-%d %H:%M}"

    def __str__(self) -> str:
        return f"at {self.at.isoformat(timespec='minutes')}"


# --- Durations ----------------------------------------------------------------------------------

_UNITS = {
    "w": timedelta(weeks=1),
    "d": _DAY,
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": _SECOND,
    "ms": timedelta(milliseconds=1),
}
_DURATION_HINT = (
    "Write numbers with w, d, h, m, s or ms, largest first: 90s, 15m, 1h30m, 2d, 500ms."
)
_LONGEST_DURATION = timedelta(days=36525)


def parse_duration(text: str) -> timedelta:
    """Read a duration such as ``90s``, ``15m``, ``1h30m``, ``2d`` or ``500ms``.

    Raises:
        CronError: It is none, or longer than a hundred years.
    """
    total, at, units = timedelta(0), 0, list(_UNITS)
    for found in re.finditer(r"([0-9]{1,9})(ms|[wdhms])", text):
        if found.start() != at or found[2] not in units:
            break
        del units[: units.index(found[2]) + 1]
        at = found.end()
        if int(found[1]) > (_LONGEST_DURATION - total) / _UNITS[found[2]]:
            raise CronError("longer than a hundred years", text=text, allowed=_DURATION_HINT)
        total += int(found[1]) * _UNITS[found[2]]
    if at == 0 or at != len(text):
        part = _Part(text, at, text[at:])
        part.fail(f'"{_Part(text, 0, text).shown}" is not a duration', _DURATION_HINT)
    return total


def _duration_parts(duration: timedelta) -> list[tuple[int, str]]:
    parts, rest = [], duration
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append((count, unit))
    return parts


def format_duration(duration: timedelta) -> str:
    """Write a duration as ``parse_duration`` reads it: ``1h30m``; microseconds are left out."""
    return "".join(f"{count}{unit}" for count, unit in _duration_parts(duration)) or "0s"


def duration_words(duration: timedelta) -> str:
    """Write a duration in words: "1 hour and 30 minutes", and "15 minutes"."""
    names = {"d": "day", "h": "hour", "m": "minute", "s": "second", "ms": "millisecond"}
    parts = _duration_parts(duration)
    return _join(_plural(count, names[unit]) for count, unit in parts) if parts else "0 seconds"
