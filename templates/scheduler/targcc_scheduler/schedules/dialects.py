"""Dialects of cron expressions: Cronos, NCrontab, Vixie cron, Quartz.

This package uses the dialect Cronos, as Hangfire does. The other dialects serve to import jobs. An
expression without a single equal expression in Cronos is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from .errors import CronError, Part
from .fields import ANY_DAY, ANY_WEEKDAY, LONGEST, numbers_in

QUARTZ_HINT = (
    "Quartz has second, minute, hour, day of month, month, day of week, and may have year."
)

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


class Field(NamedTuple):
    """One field of an expression.

    Attributes:
        name: The name of the field in messages.
        low: The lowest number.
        high: The highest number.
        names: Names for numbers, in capitals.
    """

    name: str
    low: int
    high: int
    names: Mapping[str, int] = MappingProxyType({})

    @property
    def hint(self) -> str:
        """A sentence that lists the allowed values of the field."""
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
    """Map the first three letters of each name to a number, counted from ``first``."""
    return {name[:3].upper(): number for number, name in enumerate(names, first)}


CRONOS_FIELDS = (
    Field("second", 0, 59),
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31),
    Field("month", 1, 12, _short_names(MONTHS, 1)),
    Field("day of week", 0, 7, _short_names(WEEKDAYS, 0)),
)


class Dialect(NamedTuple):
    """The rules by which a family of schedulers reads an expression.

    Attributes:
        name: The name of the dialect.
        fields: The fields, seconds first.
        counts: The allowed numbers of fields.
        wraps: For a range whose end is below its start: wrap ``around``, ``swap`` or ``refuse``.
        star_in_list: Whether a list may contain ``*``.
        open_step: Whether ``5/15`` means from 5 to the end.
        specials: Whether the dialect has ``L``, ``W``, ``#`` and ``?``.
        strict: Whether a step must be within the field, and a number may have two digits at most.
    """

    name: str
    fields: tuple[Field, ...]
    counts: tuple[int, ...] = (5, 6)
    wraps: str = "around"
    star_in_list: bool = True
    open_step: bool = True
    specials: bool = False
    strict: bool = False


CRONOS = Dialect("cronos", CRONOS_FIELDS, star_in_list=False, specials=True, strict=True)

# NCrontab 3: full names or any prefix of a name, no weekday 7, the ends of a range are sorted.
NCRONTAB = Dialect(
    "ncrontab",
    (
        *CRONOS_FIELDS[:4],
        Field("month", 1, 12, {name.upper(): n for n, name in enumerate(MONTHS, 1)}),
        Field("day of week", 0, 6, {name.upper(): n for n, name in enumerate(WEEKDAYS)}),
    ),
    wraps="swap",
)

# Vixie cron: when neither day field begins with *, the job runs on days that match either field;
# a step follows a range or *.
VIXIE = Dialect("vixie", CRONOS_FIELDS, counts=(5,), wraps="refuse", open_step=False)

# Quartz: seconds first, an optional year last, Sunday is 1.
QUARTZ = Dialect(
    "quartz",
    (*CRONOS_FIELDS[:5], Field("day of week", 1, 7, _short_names(WEEKDAYS, 1))),
    counts=(6, 7),
    specials=True,
)

_DIALECTS = {dialect.name: dialect for dialect in (CRONOS, NCRONTAB, VIXIE, QUARTZ)}

DIALECTS = tuple(_DIALECTS)
"""The dialect names for ``convert`` and ``CronSchedule.parse``."""


def dialect_named(name: str) -> Dialect:
    """Return the dialect with a name.

    Raises:
        CronError: The name is unknown; ``allowed`` lists the names.
    """
    dialect = _DIALECTS.get(name)
    if dialect is None:
        known = f"There are {', '.join(DIALECTS)}."
        raise CronError(f'no dialect "{name}"', text=name, allowed=known)
    return dialect


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


def expand_macro(text: str, dialect: Dialect) -> str | None:
    """Return the expression of a macro such as ``@daily``; None when the text is no macro.

    Raises:
        CronError: The dialect has macros, but not this macro.
    """
    word = text.strip(" \t")
    if not word.startswith("@") or dialect not in (CRONOS, VIXIE):
        return None
    # Vixie cron has no macro for every minute or every second.
    known = {name: meant for name, meant in _MACROS.items() if meant[0] == "0" or dialect is CRONOS}
    if word.lower() not in known:
        part = Part(text, text.index("@"), word)
        part.fail(f"{part.shown} is not known", f"There are {', '.join(known)}.")
    return known[word.lower()]


def plain_quartz(parts: list[Part]) -> list[Part]:
    """Return Quartz's parts with ``?`` and a lone ``L`` written as in the other dialects.

    Raises:
        CronError: Only Quartz has the feature: a year, a calendar, ``L``, ``W`` or ``#`` in a list;
            or Quartz itself refuses the expression.
    """
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


def either_day(parts: list[Part], day: int, month: int, weekday: int) -> tuple[int, int]:
    """Return day and weekday bits for which "both match" equals Vixie cron's "either matches".

    Raises:
        CronError: No such bits exist: the job needs two expressions.
    """
    if parts[3].text.startswith("*") or parts[5].text.startswith("*"):
        return day, weekday
    if day == ANY_DAY or weekday == ANY_WEEKDAY:
        return ANY_DAY, ANY_WEEKDAY
    longest = max(LONGEST[n] for n in numbers_in(month))
    if not day & ((2 << longest) - 1):
        return ANY_DAY, weekday
    return parts[5].fail(
        "vixie runs on the day of month OR the day of week; one expression here means both",
        "Split it into two jobs: one with * as day of week, one with * as day of month.",
    )
