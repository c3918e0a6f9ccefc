"""Read dates from text: the orders of day, month and year that a text allows, and the date in an order.

``07/11/2016`` is 7 November or 11 July. Only another cell of the file, the session of a script or a person can tell.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

EVERY_ORDER = frozenset({"dmy", "mdy", "ymd"})
"""The orders that exports are written in."""

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_CLOCK = r"(?:(\d{1,2}):(\d{2})(?::(\d{2})(?:[.:,](\d{1,9}))?)?\s*(am|pm)?)?"
_ZONE = r"\s*(Z|[+-]\d{2}:?\d{2})?"
_YEAR_FIRST = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})[T\s]*" + _CLOCK + _ZONE, re.IGNORECASE
)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})\s*" + _CLOCK + _ZONE, re.IGNORECASE)
_NUMBERS = re.compile(
    r"(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4}|\d{2})(?:,?\s+" + _CLOCK + ")?", re.IGNORECASE
)
_MONTH_FIRST = re.compile(r"([a-z]{3})[a-z]*\s+(\d{1,2}),?\s+(\d{4})\s*" + _CLOCK, re.IGNORECASE)
_DAY_MONTH = re.compile(r"(\d{1,2})[\s-]+([a-z]{3})[a-z]*[\s-]+(\d{4})\s*" + _CLOCK, re.IGNORECASE)
_PIVOT = 50  # SQL Server's "two digit year cutoff": 50 is 1950, 49 is 2049
_NOON = 12


class AmbiguousDateError(ValueError):
    """A text that is a different date in several orders.

    Attributes:
        dates: The date in each order.
    """

    def __init__(self, text: str, dates: dict[str, datetime]) -> None:
        self.dates = dates
        shown = " or ".join(f"{order} {day:%Y-%m-%d}" for order, day in sorted(dates.items()))
        super().__init__(f'"{text}" can be read in several ways: {shown}')


def read_date(text: str, orders: Collection[str] = EVERY_ORDER) -> datetime:
    """Return the date and time of a text, in the server's wall time.

    If several orders remain, a date with dots and a year of four digits begins with the day, and a date with AM or PM begins with
    the month.

    Args:
        text: Such as ``2024-01-31T02:00:00.000``, ``20240131 02:00``, ``31/01/2024 02:00:00``, ``Jan 31 2024  2:00AM``.
        orders: The orders that the text may have.

    Raises:
        AmbiguousDateError: Several orders remain, with different dates.
        ValueError: The text is no date in any of the orders.
    """
    text = text.strip()
    if match := _NUMBERS.fullmatch(text):
        dates = _dates(match, orders)
        if len(set(dates.values())) > 1:
            usual = _usual_order(match)
            if usual not in dates:
                raise AmbiguousDateError(text, dates)
            return dates[usual]
        return next(iter(dates.values()))
    try:
        return datetime.fromisoformat(text[:26]).replace(tzinfo=None)
    except ValueError:
        return _spelled(text)


def orders_of(text: str) -> frozenset[str] | None:
    """Return the orders in which a text is a date; ``None`` if no order applies: a spelled month, or a year in front."""
    match = _NUMBERS.fullmatch(text.strip())
    if match is None:
        return None
    try:
        dates = _dates(match, EVERY_ORDER)
    except ValueError:
        return None
    return frozenset(dates)


def _dates(match: re.Match[str], orders: Collection[str]) -> dict[str, datetime]:
    """Map each order that gives a date to the date.

    Raises:
        ValueError: No order gives a date.
    """
    dates: dict[str, datetime] = {}
    for order in sorted(orders):
        try:
            dates[order] = _in_order(match, order)
        except ValueError:
            continue
    if not dates:
        shown = " or ".join(sorted(orders))
        raise ValueError(f'"{match[0]}" is no date in the order {shown}')
    if len(match[4]) > len("yy") and len(dates) > 1:  # the year is last, so the order is not ymd
        dates.pop("ymd", None)
    return dates


def _in_order(match: re.Match[str], order: str) -> datetime:
    """Return the date in an order; a year of four digits keeps its position, as in SQL Server."""
    first, second, third = int(match[1]), int(match[3]), int(match[4])
    parts = dict(zip(order, (first, second, third), strict=True))
    if len(match[4]) > len("yy"):
        day_first = order.index("d") < order.index("m")
        day, month = (first, second) if day_first else (second, first)
        parts = {"d": day, "m": month, "y": third}
    else:
        parts["y"] += 1900 if parts["y"] >= _PIVOT else 2000
    return _at(parts["y"], parts["m"], parts["d"], match.groups()[4:])


def usual_order(text: str) -> str | None:
    """Return the likely order of a text: ``dmy`` for dots with a year of four digits, ``mdy`` for AM or PM, else ``None``."""
    match = _NUMBERS.fullmatch(text.strip())
    return _usual_order(match) if match else None


def _usual_order(match: re.Match[str]) -> str | None:
    if match[2] == ".":
        return "dmy" if len(match[4]) > len("yy") else None
    return "mdy" if match[9] else None


def _spelled(text: str) -> datetime:
    for pattern in (_YEAR_FIRST, _COMPACT):
        if match := pattern.fullmatch(text):
            year, month, day = (int(part) for part in match.groups()[:3])
            return _at(year, month, day, match.groups()[3:])
    if match := _MONTH_FIRST.fullmatch(text):
        return _at(int(match[3]), _month(match[1]), int(match[2]), match.groups()[3:])
    if match := _DAY_MONTH.fullmatch(text):
        return _at(int(match[3]), _month(match[2]), int(match[1]), match.groups()[3:])
    raise ValueError(f'"{text}" is no date that can be read')


def _month(name: str) -> int:
    return _MONTHS.index(name.lower()) + 1


def _at(year: int, month: int, day: int, clock: tuple[str | None, ...]) -> datetime:
    hour, minute, second = (int(part or 0) for part in clock[:3])
    if half := clock[4]:
        hour = hour % _NOON + (_NOON if half.lower() == "pm" else 0)
    micro = int((clock[3] or "0").ljust(6, "0")[:6])
    return datetime(year, month, day, hour, minute, second, micro)  # noqa: DTZ001 - wall time
