"""Format values in the reader's language: times, durations, shares, states."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from .languages import (
    Words,
    gettext,
    marked,
    marked_plural,
    ngettext,
    reader,
    translated,
    translated_in,
    translated_plural,
)
from .numbers import CLOCK_OFF_MS
from .states import RunState
from .stored_values import REFERENCE, is_large

NOTHING = "\N{EN DASH}"
"""The placeholder for a missing value."""

_TENTHS_BELOW = 10  # seconds
_DAYS_NAMED = 7
_MANY = 5
_KILO = 1_000

STATE_WORDS = Words(
    {
        RunState.AWAITING: marked("awaiting"),
        RunState.SCHEDULED: marked("scheduled"),
        RunState.ENQUEUED: marked("enqueued"),
        RunState.RUNNING: marked("running"),
        RunState.RETRYING: marked("retrying"),
        RunState.SUCCEEDED: marked("succeeded"),
        RunState.FAILED: marked("failed"),
        RunState.CANCELLED: marked("cancelled"),
        RunState.SKIPPED: marked("skipped"),
        RunState.MISSED: marked("missed"),
    }
)
"""The name of each state on the pages: the state's own name, translated."""

_STATE_COUNTS = {
    RunState.AWAITING: marked_plural("%(num)s awaiting", "%(num)s awaiting"),
    RunState.SCHEDULED: marked_plural("%(num)s scheduled", "%(num)s scheduled"),
    RunState.ENQUEUED: marked_plural("%(num)s enqueued", "%(num)s enqueued"),
    RunState.RUNNING: marked_plural("%(num)s running", "%(num)s running"),
    RunState.RETRYING: marked_plural("%(num)s retrying", "%(num)s retrying"),
    RunState.SUCCEEDED: marked_plural("%(num)s succeeded", "%(num)s succeeded"),
    RunState.FAILED: marked_plural("%(num)s failed", "%(num)s failed"),
    RunState.CANCELLED: marked_plural("%(num)s cancelled", "%(num)s cancelled"),
    RunState.SKIPPED: marked_plural("%(num)s skipped", "%(num)s skipped"),
    RunState.MISSED: marked_plural("%(num)s missed", "%(num)s missed"),
}

STATE_HELP = Words(
    {
        RunState.AWAITING: marked("Waiting for other runs, or for capacity of a limit."),
        RunState.SCHEDULED: marked("Not due yet."),
        RunState.ENQUEUED: marked("Due, waiting for a free worker."),
        RunState.RUNNING: marked("A worker is executing the run."),
        RunState.RETRYING: marked("The last attempt failed. A retry is scheduled."),
        RunState.SUCCEEDED: marked("The run succeeded."),
        RunState.FAILED: marked("The last attempt failed. No retries are left."),
        RunState.CANCELLED: marked("Cancelled by a user or a program."),
        RunState.SKIPPED: marked("The slot was due while an earlier run was still running."),
        RunState.MISSED: marked("The slot passed while no server could start the run."),
    }
)
"""A sentence that explains each state."""


WEEKDAYS = Words(
    {
        0: marked("Mon"),
        1: marked("Tue"),
        2: marked("Wed"),
        3: marked("Thu"),
        4: marked("Fri"),
        5: marked("Sat"),
        6: marked("Sun"),
    }
)
"""The short names of the days, by ``date.weekday()``."""
_MONTHS = Words(
    {
        1: marked("Jan"),
        2: marked("Feb"),
        3: marked("Mar"),
        4: marked("Apr"),
        5: marked("May"),
        6: marked("Jun"),
        7: marked("Jul"),
        8: marked("Aug"),
        9: marked("Sep"),
        10: marked("Oct"),
        11: marked("Nov"),
        12: marked("Dec"),
    }
)


def duration(value: timedelta | float | None) -> str:
    """Format a duration in at most two units: ``340 ms``, ``4.2 s``, ``3 min 12 s``, ``2 h 5 min``, ``3 d 4 h``. Numbers are seconds."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 1:
        return gettext("%(number)s ms", number=f"{max(seconds, 0) * 1000:.0f}")
    if seconds < _TENTHS_BELOW:
        return gettext("%(number)s s", number=f"{seconds:.1f}")
    whole = round(seconds)
    for (size, unit), (small, small_unit) in pairwise(_units()):
        if whole >= size:
            rest = whole % size // small
            first = unit % {"number": whole // size}
            return f"{first} {small_unit % {'number': rest}}" if rest else first
    return gettext("%(number)s s", number=whole)


def _units() -> tuple[tuple[int, str], ...]:
    """Return the units of durations with their seconds, the largest first."""
    return (
        (86400, translated("%(number)s d")),
        (3600, translated("%(number)s h")),
        (60, translated("%(number)s min")),
        (1, translated("%(number)s s")),
    )


def in_scripts() -> dict[str, str]:
    """Return the texts with which the script of the pages updates relative times."""
    words = {
        "d": "%(number)s d",
        "h": "%(number)s h",
        "min": "%(number)s min",
        "s": "%(number)s s",
        "ago": "%(time)s ago",
        "in": "in %(time)s",
        "now": "now",
        "copy": marked("Copy"),
        "copied": marked("Copied"),
        "show_in": marked("Show in %(zone)s"),
        "go_on": marked("Continue"),
        "go_on_new": marked("Continue (%(number)s new)"),
    }
    lines = ("%(num)s line", "%(num)s lines")
    return {
        **{name: translated(message) for name, message in words.items()},
        "pause": translated_in("log", "Pause"),
        "line": translated_plural(*lines, 1),
        "lines": translated_plural(*lines, _MANY),
    }


def milliseconds(value: int | None) -> str:
    """Format milliseconds as a duration."""
    return duration(None if value is None else value / 1000)


def relative(instant: datetime, now: datetime) -> str:
    """Format the distance of an instant from now: ``12 s ago``, ``in 3 h``, ``now``."""
    seconds = (instant - now).total_seconds()
    size = (
        math.ceil(seconds) if seconds > 0 else -seconds
    )  # "in 2 h" for an instant slightly less than two hours ahead
    if size < 1:
        return gettext("now")
    number, unit = next(
        (int(size // unit_seconds), name) for unit_seconds, name in _units() if size >= unit_seconds
    )
    text = unit % {"number": number}
    return gettext("in %(time)s", time=text) if seconds > 0 else gettext("%(time)s ago", time=text)


def clock(instant: datetime, now: datetime, zone: ZoneInfo) -> str:
    """Format an instant in its shortest unambiguous form: ``02:00`` today, ``Tue 02:00`` near it, ``24 Nov 02:00``, ``24 Nov 2025``."""
    local, today = instant.astimezone(zone), now.astimezone(zone).date()
    days = (local.date() - today).days
    if days == 0:
        return f"{local:%H:%M}"
    if abs(days) < _DAYS_NAMED:
        return f"{weekday(local)} {local:%H:%M}"
    if local.year == today.year:
        return f"{day_and_month(local)} {local:%H:%M}"
    return f"{day_and_month(local)} {local.year}"


def weekday(day: date) -> str:
    """Return the short name of a day: ``Tue``."""
    return WEEKDAYS[day.weekday()]


def day_and_month(day: date) -> str:
    """Format a day of the year: ``24 Nov``."""
    return gettext("%(day)s %(month)s", day=day.day, month=_MONTHS[day.month])


def full(instant: datetime, zone: ZoneInfo) -> str:
    """Format an instant in full: ``Tue 24 Nov 2026 02:00:00 +02:00 (00:00:00 UTC)``."""
    local = instant.astimezone(zone)
    utc = instant.astimezone(UTC)
    day = "" if utc.date() == local.date() else f"{weekday(utc)} "
    offset = f"{local:%z}"
    return f"{_dated(local.date(), reader().catalogue.language)} {local:%H:%M:%S} {offset[:3]}:{offset[3:5]} ({day}{utc:%H:%M:%S} UTC)"


@lru_cache(maxsize=1_000)
def _dated(day: date, _language: str) -> str:
    """Format a date in the reader's language: ``Tue 24 Nov 2026``. Cached, because the hundreds of times on a page fall on few days."""
    return f"{weekday(day)} {day_and_month(day)} {day.year}"


def percent(share: float | None) -> str:
    """Format a share in per cent. A share below 1 is never shown as 100, a share above 0 never as 0."""
    if share is None:
        return NOTHING
    if 0 < share < 1:
        return f"{min(max(round(share * 100), 1), 99)}%"
    return f"{share:.0%}"


def count(number: int, one: str, many: str | None = None) -> str:
    """Format a number with its noun: ``1 run``, ``1,204 runs``."""
    nouns = (f"%(num)s {one}", f"%(num)s {many or one + 's'}")
    return ngettext(*nouns, number)


def count_state(number: int, state: RunState) -> str:
    """Format a number of runs in a state: ``3 failed``."""
    return ngettext(*_STATE_COUNTS[state], number)


def listed(names: list[str], most: int = 3) -> str:
    """Join names for a sentence: ``A``, ``A and B``, ``A, B and 4 more``."""
    if len(names) > most:
        more = gettext("%(number)s more", number=len(names) - most + 1)
        names = [*names[: most - 1], more]
    if len(names) < 2:  # noqa: PLR2004 - an "and" stands between two
        return "".join(names)
    return gettext("%(names)s and %(last)s", names=", ".join(names[:-1]), last=names[-1])


def who(actor: str) -> str:
    """Format an actor: ``Manual (dana)`` is ``dana``, ``API (shop)`` is ``shop by API``."""
    kind, _, rest = actor.partition(" (")
    name = rest.removesuffix(")")
    if not name:
        return actor
    return name if kind == "Manual" else gettext("%(name)s by %(kind)s", name=name, kind=kind)


def sentence(text: str) -> str:
    """Return ``text`` with a capital first letter."""
    return text[:1].upper() + text[1:]


def last_line(text: str | None) -> str:
    """Return the last line of a traceback that is not blank."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def node_trouble(
    stuck_since: datetime | None, stuck_in: str | None, clock_offset_ms: int | None
) -> str:
    """Describe a node's problems in one line; empty without problems.

    Args:
        stuck_since: Since when the node's loop does not answer.
        stuck_in: Stack of the code that the loop is in.
        clock_offset_ms: Milliseconds that the node's clock is ahead of the database's.
    """
    problems = []
    if stuck_since is not None:
        where = (stuck_in or "").partition("\n")[0]
        since = stuck_since.isoformat(" ", "seconds")
        problems.append(f"alive, stuck in {where or 'the scheduler itself'} since {since}")
    if abs(clock_offset_ms or 0) > CLOCK_OFF_MS:
        way = "ahead of" if (clock_offset_ms or 0) > 0 else "behind"
        seconds = abs(clock_offset_ms or 0) / 1000
        problems.append(f"its clock is {seconds:.1f} s {way} the database's")
    return "; ".join(problems)


def webhook_state(disabled_by: str | None, failing_since: datetime | None, now: datetime) -> str:
    """Describe a webhook's state in words: on, off or failing."""
    if disabled_by is not None:
        return gettext("disabled by %(name)s", name=disabled_by)
    if failing_since is not None:
        minutes = int((now - failing_since).total_seconds()) // 60
        return gettext("failing for %(time)s", time=gettext("%(number)s min", number=minutes))
    return translated_in("webhook", "on")


def arguments(values: dict[str, Any]) -> str:
    """Format arguments in one line: ``user_id=3, since="2026-01-01", report="a.csv (12 kB)"``."""
    return ", ".join(
        f"{name}={json.dumps(_in_words(value), ensure_ascii=False)}"
        for name, value in values.items()
    )


def _in_words(value: Any) -> Any:
    """Replace each reference to separately stored content in an argument value by a short text."""
    if is_large(value):
        return f"… ({size(value['size'])})"
    if isinstance(value, dict):
        if REFERENCE in value:
            return f"{value.get('name')} ({size(value.get('size', 0))})"
        return {name: _in_words(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_words(item) for item in value]
    return value


def size(number: int) -> str:
    """Format a number of bytes in units of 1,000: ``812 B``, ``1.5 kB``, ``64 MB``."""
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < _KILO:
            break
        value, unit = value / _KILO, larger
    return f"{value:.{1 if value < _TENTHS_BELOW and unit != 'B' else 0}f} {unit}"


def mib(size: float) -> str:
    """Format a size in bytes as MiB or GiB."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"
