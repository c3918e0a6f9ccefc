"""Times at which another scheduler reads a cron expression differently from ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.cron import CronSchedule, convert
from targcc_scheduler.schedules.dst import clock_changes
from targcc_scheduler.schedules.errors import CronError
from targcc_scheduler.schedules.zones import pin

from targcc_gen.old_runners.cron import CronText, Polling, cron_runs, read_cron_text, vixie_polling

_FIELDS = 5
_DAY_OF_MONTH, _DAY_OF_WEEK = 2, 4


@dataclass(frozen=True, slots=True)
class Difference:
    """A time at which only one of two readings runs.

    Attributes:
        moment: The time, with the offset of the zone.
        only: The dialect that runs at the time.
    """

    moment: datetime
    only: str


@dataclass(frozen=True, slots=True)
class Reading:
    """An expression as another scheduler reads it.

    Attributes:
        dialect: The scheduler's name.
        schedules: The equivalent schedules of ours; vixie's "either day" takes two.
        vixie: The days and minutes of vixie cron, by croniter; None for another scheduler.
        polling: The behavior of vixie at a clock change, which croniter lacks.
    """

    dialect: str
    schedules: tuple[CronSchedule, ...]
    vixie: CronText | None = None
    polling: Polling = Polling.NEXT_RUN

    def between(self, start: datetime, end: datetime, zone: ZoneInfo) -> set[datetime]:
        """Return the times from ``start`` up to, and not including, ``end``."""
        if self.vixie is None:
            return set(self.schedules[0].between(start, end, zone))
        runs = cron_runs(self.vixie, zone, start, end, self.polling)
        return {pin(moment.astimezone(zone)) for moment in runs}

    def times_of(self, day: datetime) -> tuple[int, int, int] | None:
        """Return the times of day on a day, as bit sets of seconds, minutes and hours; None if the schedule skips the day."""
        schedule = self.schedules[0]
        names = schedule.matches_day if self.vixie is None else self.vixie.names
        return (schedule.second, schedule.minute, schedule.hour) if names(day) else None

    def describe(self) -> str:
        """Describe the schedule in words."""
        return ", or ".join(schedule.describe() for schedule in self.schedules)


def read_as(text: str, dialect: str) -> Reading:
    """Read an expression as the dialect's own scheduler does, whether or not our dialect can express it.

    croniter reads vixie's fields. By vixie cron's manual page, for clock changes of less than three hours: jobs at fixed times behave
    as ours do; jobs with ``*`` as minute or hour follow the real clock. croniter differs here: it runs a fixed time of a repeated hour
    twice. NCrontab and Quartz have no rule for every program that uses them, so our own rules are assumed.

    Raises:
        CronError: The dialect refuses the expression.
    """
    if dialect != "vixie":
        return Reading(dialect, (convert(text, dialect),))
    schedules = _vixie(text)
    return Reading(dialect, schedules, read_cron_text(text, dialect), vixie_polling(text))


def _vixie(text: str) -> tuple[CronSchedule, ...]:
    """Return our schedules for a vixie expression, two for "either day". croniter accepts texts that vixie refuses."""
    try:
        return (convert(text, "vixie"),)
    except CronError as refusal:
        fields = text.split()
        if len(fields) != _FIELDS:
            raise
        try:
            halves = [
                convert(
                    " ".join(
                        "*" if place == left_out else word for place, word in enumerate(fields)
                    ),
                    "vixie",
                )
                for left_out in (_DAY_OF_WEEK, _DAY_OF_MONTH)
            ]
        except CronError:
            raise refusal from None
        return tuple(halves)


def differences(
    ours: CronSchedule, other: Reading, zone: ZoneInfo, start: datetime, end: datetime
) -> Iterator[Difference]:
    """Yield the times in ``[start, end)`` at which a single reading runs, in order.

    Skip days with equal times in both readings, except around a clock change.
    """
    own = Reading("cronos", (ours,))
    nights = list(clock_changes(zone, start - timedelta(days=2), end + timedelta(days=2)))
    midnights = list(CronSchedule.parse("0 0 * * *").between(start, end, zone))
    bounds = [start, *(midnight for midnight in midnights if midnight > start), end]
    for first, last in pairwise(bounds):
        day = first.astimezone(zone)
        if own.times_of(day) != other.times_of(day):
            yield from _differ(own, other, zone, first, last)
            continue
        for night in nights:
            reach = 2 * abs(night.size)
            low, high = max(first, night.at - reach), min(last, night.at + reach)
            if low < high:
                yield from _differ(own, other, zone, low, high)


def _differ(
    own: Reading, other: Reading, zone: ZoneInfo, start: datetime, end: datetime
) -> Iterator[Difference]:
    ours, others = own.between(start, end, zone), other.between(start, end, zone)
    for moment in sorted(ours ^ others):
        yield Difference(moment, own.dialect if moment in ours else other.dialect)
