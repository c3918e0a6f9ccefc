"""When a job is due: cron expressions, intervals, delays and single dates, in a time zone.

The rules are those of Cronos 0.11, the parser that Hangfire embeds, so that a job runs at the same
times after it moves from there:

* five fields (minute, hour, day of month, month, day of week), or six with the seconds first;
* day of month AND day of week, when both are given;
* a time that the clock skips in spring runs at the first moment after the gap;
* a time that the clock repeats in autumn runs once, at the first pass. An *interval* expression,
  one with ``*``, a range or a step in its second, minute or hour field, runs through both passes.

Every schedule answers ``next``, ``previous``, ``iter``, ``between`` and ``describe``. The datetimes
it returns show the zone's wall clock with a fixed offset: they compare and hash as the instants
they are, also in the hour that comes twice, where two datetimes of one ``ZoneInfo`` would compare
by wall clock.

Standard library only, and nothing from outside this folder: the generator uses it without the rest
of the scheduler.
"""

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
