"""Parse and bound numbers from users and programs: whole numbers as text, priorities, rates of bulk operations."""

from __future__ import annotations

import math
from datetime import timedelta

MOST_INT = 2**31 - 1
"""The largest number in a column of 32 bits."""
MOST_ID = 2**63 - 1
"""The largest id of a row."""
LEAST_RATE, MOST_RATE = 0.0001, 1_000_000.0
"""The bounds of a rate in runs per minute."""
LONGEST_SPREAD = timedelta(days=3_660)
"""The longest time from the first run of a bulk operation to the last."""
PRIORITIES = f"a priority is a whole number from -{MOST_INT} to {MOST_INT}"
"""The error message for a wrong priority."""
MOST_OWN_RETRIES = 254
"""Most retries that a run may have in place of its job's."""
MOST_TREND_DAYS = 90
"""Most days of a job's trend."""
CLOCK_OFF_MS = 5000
"""Milliseconds between a node's clock and the database's from which the clock counts as wrong."""
_DRIFT = 1.25
"""Ratio of two medians from which their difference counts as significant."""
_MOST_DIGITS = 19


def whole(text: str, most: int = MOST_ID) -> int | None:
    """Parse a whole number from 0 to ``most``; return ``None`` for any other text of any length."""
    if not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0") or "0"
    number = int(digits) if len(digits) <= _MOST_DIGITS else MOST_ID + 1
    return number if number <= most else None


def whole_or_error(text: str, name: str) -> int:
    """Parse a whole number of at least 0; ``name`` is for the error message.

    Raises:
        ValueError: The text is not such a number.
    """
    number = whole(text)
    if number is None:
        raise ValueError(f"{name} is a whole number")
    return number


def priority_of(text: str) -> int:
    """Parse a priority, such as ``-5``.

    Raises:
        ValueError: The text is not a number that fits in a column of 32 bits.
    """
    text = text.strip()
    number = whole(text.removeprefix("-").removeprefix("+"), MOST_INT)
    if number is None:
        raise ValueError(PRIORITIES)
    return -number if text.startswith("-") else number


def rate_of(text: str) -> float | None:
    """Parse a rate in runs per minute; return ``None`` for an empty text. :func:`interval_of` checks the bounds.

    Raises:
        ValueError: The text is not a number.
    """
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise ValueError("a rate is a number") from None


def is_priority(number: int) -> bool:
    """Return whether a priority and its negative fit in a column of 32 bits."""
    return -MOST_INT <= number <= MOST_INT


def interval_of(rate: float | None, runs: int) -> timedelta:
    """Return the time between two runs at a rate.

    Args:
        rate: Runs per minute; ``None``: all at once.
        runs: The number of runs.

    Raises:
        ValueError: The rate is not a number within the bounds, or the last run would be due after more than ten years.
    """
    if rate is None:
        return timedelta()
    if (
        not isinstance(rate, int | float)
        or not math.isfinite(rate)
        or not LEAST_RATE <= rate <= MOST_RATE
    ):
        raise ValueError(f"a rate is runs a minute, from {LEAST_RATE} to {MOST_RATE:,.0f}")
    apart = timedelta(minutes=1) / rate
    if apart.total_seconds() * runs > LONGEST_SPREAD.total_seconds():
        raise ValueError(
            f"at {rate:g} a minute the last of {runs:,} runs would be due after more than ten years"
        )
    return apart


def drift(before: float | None, lately: float | None) -> float | None:
    """Return the ratio of the recent median to the earlier median; ``None`` if the ratio is insignificant."""
    if not before or lately is None:
        return None
    ratio = lately / before
    return ratio if ratio >= _DRIFT or ratio <= 1 / _DRIFT else None
