"""Compute when a job is due: cron expressions, intervals, delays and single dates, in a time zone.

The rules follow Cronos 0.11, the parser that Hangfire embeds, so that a job runs at the same
times after a move from Hangfire:

* five fields (minute, hour, day of month, month, day of week), or six with the seconds first;
* day of month AND day of week, when both are given;
* a time that the clock skips in spring runs at the first moment after the gap;
* a time that the clock repeats in autumn runs once, at the first pass. An *interval* expression
  runs through both passes: an expression with ``*``, a range or a step in the second, minute or
  hour field.

Every schedule has ``next``, ``previous``, ``iter``, ``between`` and ``describe``. The returned
datetimes show the zone's wall clock with a fixed offset, so they compare and hash as instants. In a
repeated hour, two datetimes of one ``ZoneInfo`` would compare by wall clock.

This package imports only the standard library and its own modules: the generator uses the package
without the rest of the scheduler. A name is imported when it is first used, so a part costs no more than the part.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Schedule
    from .calendars import (
        Handling,
        OnHoliday,
        WorkingAfterRunSchedule,
        WorkingCalendar,
        WorkingSchedule,
        calendar_of,
        calendars_text,
        read_calendar,
        respecting,
    )
    from .cron import CronSchedule, convert
    from .dialects import DIALECTS
    from .errors import CronError
    from .intervals import (
        AfterCompletionSchedule,
        AfterRunSchedule,
        AfterStartSchedule,
        EverySchedule,
        OnceSchedule,
    )
    from .words import duration_words, format_duration, parse_duration
    from .zones import Zone, parse_zone

__all__ = [
    "DIALECTS",
    "AfterCompletionSchedule",
    "AfterRunSchedule",
    "AfterStartSchedule",
    "CronError",
    "CronSchedule",
    "EverySchedule",
    "Handling",
    "OnHoliday",
    "OnceSchedule",
    "Schedule",
    "WorkingAfterRunSchedule",
    "WorkingCalendar",
    "WorkingSchedule",
    "Zone",
    "calendar_of",
    "calendars_text",
    "convert",
    "duration_words",
    "format_duration",
    "parse_duration",
    "parse_zone",
    "read_calendar",
    "respecting",
]

_HOMES = {
    "base": ("Schedule",),
    "calendars": (
        "Handling",
        "OnHoliday",
        "WorkingAfterRunSchedule",
        "WorkingCalendar",
        "WorkingSchedule",
        "calendar_of",
        "calendars_text",
        "read_calendar",
        "respecting",
    ),
    "cron": ("CronSchedule", "convert"),
    "dialects": ("DIALECTS",),
    "errors": ("CronError",),
    "intervals": (
        "AfterCompletionSchedule",
        "AfterRunSchedule",
        "AfterStartSchedule",
        "EverySchedule",
        "OnceSchedule",
    ),
    "words": ("duration_words", "format_duration", "parse_duration"),
    "zones": ("Zone", "parse_zone"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from where it is defined (PEP 562)."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
