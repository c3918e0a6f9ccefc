"""Bounds of numbers that people and programs give: whole numbers as text, priorities, rates of operations."""

from __future__ import annotations

import math
from datetime import timedelta

MOST_INT = 2**31 - 1
"""The largest number of a column of 32 bits."""
MOST_ID = 2**63 - 1
"""The largest id of a row."""
LEAST_RATE, MOST_RATE = 0.0001, 1_000_000.0
"""The bounds of a rate, in runs a minute."""
LONGEST_SPREAD = timedelta(days=3_660)
"""The longest time from the first run of an operation to the last."""
PRIORITIES = f"a priority is a whole number from -{MOST_INT} to {MOST_INT}"
"""What a message says of a wrong priority."""
_MOST_DIGITS = 19


def whole(text: str, most: int = MOST_ID) -> int | None:
    """Read a whole number from 0 to ``most``; ``None`` for any other text, however long."""
    if not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0") or "0"
    number = int(digits) if len(digits) <= _MOST_DIGITS else MOST_ID + 1
    return number if number <= most else None


def whole_or_error(text: str, name: str) -> int:
    """Read a whole number from 0; ``name`` is for the message.

    Raises:
        ValueError: The text is no such number.
    """
    number = whole(text)
    if number is None:
        raise ValueError(f"{name} is a whole number")
    return number


def priority_of(text: str) -> int:
    """Read a priority, such as ``-5``.

    Raises:
        ValueError: The text is no number that a column of 32 bits holds.
    """
    text = text.strip()
    number = whole(text.removeprefix("-").removeprefix("+"), MOST_INT)
    if number is None:
        raise ValueError(PRIORITIES)
    return -number if text.startswith("-") else number


def rate_of(text: str) -> float | None:
    """Read a rate in runs a minute; ``None``: the text is empty. Bounds: see :func:`interval_of`.

    Raises:
        ValueError: The text is no number.
    """
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise ValueError("a rate is a number") from None


def is_priority(number: int) -> bool:
    """Return whether a column of 32 bits holds a priority, and its opposite."""
    return -MOST_INT <= number <= MOST_INT


def interval_of(rate: float | None, runs: int) -> timedelta:
    """Return the time between two runs at a rate.

    Args:
        rate: Runs a minute; ``None``: all at once.
        runs: The number of runs.

    Raises:
        ValueError: The rate is no number within its bounds, or the last run would be due after more than ten years.
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
