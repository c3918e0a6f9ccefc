"""The parser of cron expressions, for every dialect.

Each field becomes a set of bits. What only one dialect has, such as Quartz's numbering of
weekdays, is in ``dialects``.
"""

from __future__ import annotations

import math
import re
from typing import TypeVar

from .dialects import (
    NCRONTAB,
    QUARTZ,
    QUARTZ_HINT,
    VIXIE,
    Dialect,
    Field,
    either_day,
    expand_macro,
    plain_quartz,
)
from .errors import FIELDS_HINT, Part
from .fields import ANY_DAY, ANY_WEEKDAY, CronFields

Fields = TypeVar("Fields", bound=CronFields)

MAX_LENGTH = 1000
"""Characters of the longest expression that is read; one that lists every value is shorter."""


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


def _span(spec: Field, low: int, high: int, step: int) -> int:
    """Return the bits of ``low-high/step``; a range that ends before it starts goes round."""
    if low <= high:
        return sum(1 << n for n in range(low, high + 1, step))
    # Sunday has two numbers where a week is 0-7; the round trip counts it once.
    last = 6 if (spec.low, spec.high) == (0, 7) else spec.high
    again = spec.low + step - int(math.fmod(last - low, step)) - 1
    turn = range(low, last + 1, step), range(again, high + 1, step)
    return sum(1 << n for n in {*turn[0], *turn[1]})


_OTHER_STARS = {("?", "cronos", False), ("?", "cronos", True), ("", "quartz", True)}
"""What else means every value, as (text, dialect, whether a step follows): Cronos reads ``?`` as
``*``, and Quartz ``/5`` as ``*/5``."""


def _item(part: Part, spec: Field, dialect: Dialect) -> tuple[int, bool]:
    """Read one item of a list: its bits, and whether it is a ``*``, a range or a step."""
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
    """Read the end of a range: both ends, in the order in which the dialect takes them."""
    if len(rest) > 1:
        rest[1].fail(f"{spec.name} has a range of three values", spec.hint)
    high = _value(rest[0], spec, dialect)
    if low > high and dialect.wraps == "refuse":
        head.fail(f"{dialect.name} refuses a range that ends before it starts", spec.hint)
    return (high, low) if low > high and dialect.wraps == "swap" else (low, high)


def _list(part: Part, spec: Field, dialect: Dialect) -> tuple[int, bool]:
    """Read a field: its bits, and whether it has a ``*``, a range or a step."""
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
    """Read the day of month: its bits, ``last`` and ``nearest`` as in ``CronFields``."""
    if dialect.specials and (found := _LAST_DAY.fullmatch(part.text)):
        back = int(found[1] or 0) if len(found[1] or "") <= 2 else 99  # noqa: PLR2004 - as Cronos
        if back > spec.high - 1:
            part.fail(f"{part.shown} is not between L-0 and L-{spec.high - 1}", spec.hint)
        return ANY_DAY, back, bool(found[2])
    if dialect.specials and (found := _NEAREST.fullmatch(part.text)):
        return 1 << _value(part.cut(len(found[1])), spec, dialect), None, True
    return _list(part, spec, dialect)[0], None, False


def _day_of_week(part: Part, spec: Field, dialect: Dialect) -> tuple[int, int]:
    """Read the day of week: its bits, and ``nth`` as in ``CronFields``."""
    if dialect.specials and "#" in part.text:
        day, number, *more = part.split("#")
        if more or number.text not in ("1", "2", "3", "4", "5", "01", "02", "03", "04", "05"):
            part.fail(f"{part.shown} does not name the first to fifth day of the month", spec.hint)
        return 1 << _value(day, spec, dialect), int(number.text)
    if dialect.specials and len(part.text) > 1 and part.text[-1] in "Ll":
        return 1 << _value(part.cut(len(part.text) - 1), spec, dialect), -1
    return _list(part, spec, dialect)[0], 0


_FIVE = 5
"""How many fields an expression without seconds has."""


def _parts(text: str, counts: tuple[int, ...]) -> list[Part]:
    """Return the fields of an expression with the seconds first, also where it has none."""
    if len(text) > MAX_LENGTH:
        whole = Part(text, 0, text)
        whole.fail(f"the expression has {len(text)} characters", f"{MAX_LENGTH} at most.")
    parts = [Part(text, m.start(), m[0]) for m in re.finditer(r"[^ \t]+", text)]
    if len(parts) not in counts:
        extra = parts[max(counts)] if len(parts) > max(counts) else Part(text, 0, text)
        wanted = " or ".join(str(n) for n in counts)
        hint = FIELDS_HINT if _FIVE in counts else QUARTZ_HINT
        extra.fail(f"{len(parts)} field{'s' * (len(parts) != 1)} instead of {wanted}", hint)
    if len(parts) == _FIVE:
        parts.insert(0, Part("0", 0, "0"))
    return parts


def read(kind: type[Fields], text: str, dialect: Dialect, counts: tuple[int, ...]) -> Fields:
    """Read an expression.

    Args:
        kind: The class to make of it.
        text: The expression, or a macro such as ``@daily``.
        dialect: How to read it.
        counts: How many fields it may have.

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
