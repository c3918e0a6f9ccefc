"""Lengths of time as people write them: ``90s``, ``15m``, ``1h30m``, ``2d``, ``500ms``."""

from __future__ import annotations

import re
from datetime import timedelta

from .errors import CronError, Part
from .words import join, plural

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
        CronError: It is not a duration, or is longer than a hundred years.
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
        part = Part(text, at, text[at:])
        part.fail(f'"{Part(text, 0, text).shown}" is not a duration', _DURATION_HINT)
    return total


def _duration_parts(duration: timedelta) -> list[tuple[int, str]]:
    """Return the counts of days, hours and so on that are not zero, with their units."""
    parts, rest = [], duration
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append((count, unit))
    return parts


def format_duration(duration: timedelta) -> str:
    """Return a duration as ``parse_duration`` reads it, such as ``1h30m``; without microseconds."""
    return "".join(f"{count}{unit}" for count, unit in _duration_parts(duration)) or "0s"


def duration_words(duration: timedelta) -> str:
    """Return a duration in words, such as "1 hour and 30 minutes"; without microseconds."""
    names = {"d": "day", "h": "hour", "m": "minute", "s": "second", "ms": "millisecond"}
    parts = _duration_parts(duration)
    return join(plural(count, names[unit]) for count, unit in parts) if parts else "0 seconds"
