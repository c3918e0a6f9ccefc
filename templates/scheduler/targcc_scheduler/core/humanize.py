"""Values as people read them: times in the project's zone, durations, shares, states."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from .states import RunState

NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""

_TENTHS_BELOW = 10  # seconds
_DAYS_NAMED = 7

STATE_WORDS = {
    RunState.SCHEDULED: "scheduled",
    RunState.ENQUEUED: "waiting",
    RunState.RUNNING: "running",
    RunState.RETRYING: "will retry",
    RunState.SUCCEEDED: "succeeded",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "cancelled",
    RunState.SKIPPED: "skipped",
    RunState.MISSED: "missed",
}
"""Each state in the words of the pages."""

STATE_HELP = {
    RunState.SCHEDULED: "Due later.",
    RunState.ENQUEUED: "Due; waits for a free worker.",
    RunState.RUNNING: "A worker runs it.",
    RunState.RETRYING: "Its last attempt failed; the next one comes by itself.",
    RunState.SUCCEEDED: "Done.",
    RunState.FAILED: "Its last attempt failed and no further one comes.",
    RunState.CANCELLED: "Somebody stopped it.",
    RunState.SKIPPED: "Its slot came while the job was still busy.",
    RunState.MISSED: "Its slot passed while nobody could start it.",
}
"""Each state explained in one sentence."""


def duration(value: timedelta | float | None) -> str:
    """A duration in at most two units: ``340 ms``, ``4.2 s``, ``3 min 12 s``, ``2 h 5 min``, ``3 d 4 h``. Numbers are seconds."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < _TENTHS_BELOW:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, small, small_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def milliseconds(value: int | None) -> str:
    """A number of milliseconds as a duration."""
    return duration(None if value is None else value / 1000)


def relative(instant: datetime, now: datetime) -> str:
    """How far away an instant is: ``12 s ago``, ``in 3 h``, ``now``."""
    seconds = (instant - now).total_seconds()
    size = (
        math.ceil(seconds) if seconds > 0 else -seconds
    )  # "in 2 h" just after two hours were asked for
    if size < 1:
        return "now"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if size >= unit:
            text = f"{int(size // unit)} {name}"
            return f"in {text}" if seconds > 0 else f"{text} ago"
    return "now"


def clock(instant: datetime, now: datetime, zone: ZoneInfo) -> str:
    """An instant in the shortest form that is unambiguous: ``02:00`` today, ``Tue 02:00`` near it, ``24 Nov 02:00``, ``24 Nov 2025``."""
    local, today = instant.astimezone(zone), now.astimezone(zone).date()
    days = (local.date() - today).days
    if days == 0:
        return f"{local:%H:%M}"
    if abs(days) < _DAYS_NAMED:
        return f"{local:%a %H:%M}"
    if local.year == today.year:
        return f"{local.day} {local:%b %H:%M}"
    return f"{local.day} {local:%b %Y}"


def full(instant: datetime, zone: ZoneInfo) -> str:
    """An instant with nothing left out: ``Tue 24 Nov 2026 02:00:00 +02:00 (00:00:00 UTC)``."""
    local = instant.astimezone(zone)
    utc = instant.astimezone(ZoneInfo("UTC"))
    day = "" if utc.date() == local.date() else f"{utc:%a} "
    offset = f"{local:%z}"
    return f"{local:%a %d %b %Y %H:%M:%S} {offset[:3]}:{offset[3:5]} ({day}{utc:%H:%M:%S} UTC)"


def percent(share: float | None) -> str:
    """A share in per cent; never 100 when something failed, never 0 when something worked."""
    if share is None:
        return NOTHING
    if 0 < share < 1:
        return f"{min(max(round(share * 100), 1), 99)}%"
    return f"{share:.0%}"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 run``, ``1,204 runs``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(names: list[str], most: int = 3) -> str:
    """Names in a sentence: ``A``, ``A and B``, ``A, B and 4 more``."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def who(actor: str) -> str:
    """An actor for people: ``Manual (dana)`` is ``dana``, ``API (shop)`` is ``shop by API``."""
    kind, _, rest = actor.partition(" (")
    name = rest.removesuffix(")")
    if not name:
        return actor
    return name if kind == "Manual" else f"{name} by {kind}"


def sentence(text: str) -> str:
    """``text`` with a capital first letter."""
    return text[:1].upper() + text[1:]


def last_line(text: str | None) -> str:
    """The last line of a traceback that says anything."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def arguments(values: dict[str, Any]) -> str:
    """Arguments in one line: ``user_id=3, since="2026-01-01"``."""
    return ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
    )
