"""The fields of a cron expression as sets of bits, and the matching days of a month.

Bit ``n`` of a set is the value ``n``: ``1 << 5`` in ``minute`` is minute 5. Weekday 0 is Sunday.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

ANY_DAY = (1 << 32) - 2
"""Every day of the month, 1-31."""
ANY_WEEKDAY = 0x7F
"""Every day of the week, 0-6."""
LONGEST = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""The length of each month in a leap year, by number of the month."""


def numbers_in(bits: int) -> list[int]:
    """Return the values in a set, in order."""
    return [n for n in range(bits.bit_length()) if bits >> n & 1]


def lowest(bits: int) -> int:
    """Return the lowest value in a set; -1 when the set is empty."""
    return (bits & -bits).bit_length() - 1


def highest(bits: int) -> int:
    """Return the highest value in a set; -1 when the set is empty."""
    return bits.bit_length() - 1


def month_length(year: int, month: int) -> int:
    """Return the number of days in a month."""
    if month == 2 and (year % 4 or (year % 100 == 0 and year % 400)):  # noqa: PLR2004 - February
        return 28
    return LONGEST[month]


@dataclass(frozen=True)
class CronFields:
    """The parsed fields of a cron expression; equal when the meaning is equal, however written.

    Attributes:
        second, minute, hour, day, month, weekday: The values of the field, as bits.
        last: Days before the last day of the month (0: the last day), None without ``L``.
        nearest: Whether to use the weekday (Monday to Friday) nearest to the day, in the month (``W``).
        nth: The number of the ``weekday`` in the month: 1-5 (``#``), -1 the last (``L``), 0 every.
        interval: Whether the job runs through both passes of a repeated hour.
        text: The expression as written.
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

    @cached_property
    def reachable(self) -> bool:
        """Whether any date matches; no date matches ``0 0 30 2 *``."""
        lengths = {LONGEST[month] for month in numbers_in(self.month)}
        if self.month >> 2 & 1:
            lengths.add(28)
        # Every month begins on every weekday in some year.
        return any(self.matching_days(first, length) for length in lengths for first in range(7))

    def matching_days(self, first: int, length: int) -> int:
        """Return the matching days of a month, as bits.

        Args:
            first: The weekday of the first day of the month.
            length: The number of days in the month.
        """
        days = self.day & ((2 << length) - 1)
        if self.last is not None:
            target = length - self.last
            days = 1 << target if target >= 1 else 0
        if self.nearest and days:
            days = 1 << _nearest_workday(lowest(days), first, length)
        return sum(1 << day for day in numbers_in(days) if self._on_weekday(day, first, length))

    def _on_weekday(self, day: int, first: int, length: int) -> bool:
        """Return whether a day of the month is on a matching weekday, and is the ``nth`` such weekday."""
        if not self.weekday >> (first + day - 1) % 7 & 1:
            return False
        if self.nth == -1:
            return day > length - 7
        return self.nth in (0, (day + 6) // 7)


def _nearest_workday(day: int, first: int, length: int) -> int:
    """Return the day from Monday to Friday that is nearest to ``day`` and in the same month."""
    weekday = (first + day - 1) % 7
    if weekday == 6:  # noqa: PLR2004 - Saturday: Friday, or Monday when that is in the month before
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day
