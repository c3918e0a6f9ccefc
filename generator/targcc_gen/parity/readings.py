"""Times at which another scheduler's reading of an expression differs from ours."""

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

from targcc_gen.old_runners.cron import CronText, Polling, cron_runs, read_cron_text

_FIELDS = 5
_DAY_OF_MONTH, _DAY_OF_WEEK = 2, 4


@dataclass(frozen=True, slots=True)
class Difference:
    """A time at which only one of two readings runs.

    Attributes:
        moment: The time, with the offset of the zone.
        only: The dialect that runs then.
    """

    moment: datetime
    only: str


@dataclass(frozen=True, slots=True)
class Reading:
    """An expression as a scheduler itself reads it.

    Attributes:
        dialect: The scheduler's name.
        schedules: What it says in ours; vixie's "either day" takes two.
        vixie: What vixie cron reads, by croniter; None for another scheduler.
        polling: What vixie does at a change of the clock, which croniter does not do.
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
        """Return the times of day at which it runs on a day, as sets of seconds, minutes and hours; None if it does not."""
        schedule = self.schedules[0]
        names = schedule.matches_day if self.vixie is None else self.vixie.names
        return (schedule.second, schedule.minute, schedule.hour) if names(day) else None

    def describe(self) -> str:
        """Return it in words."""
        return ", or ".join(schedule.describe() for schedule in self.schedules)


def read_as(text: str, dialect: str) -> Reading:
    """Read an expression as the dialect's own scheduler does, whether or not ours can say it.

    Vixie's fields are read by croniter. Vixie cron's manual page, on clock changes of less than three hours: jobs at fixed times behave
    as ours do; jobs with ``*`` as minute or hour follow the real clock. croniter differs there: it runs a fixed time that comes twice at
    both. NCrontab and Quartz say nothing that holds for every program that uses them: there our own rules are assumed.

    Raises:
        CronError: The dialect refuses it.
    """
    if dialect != "vixie":
        return Reading(dialect, (convert(text, dialect),))
    schedules = _vixie(text)
    fields = text.split()
    by_clock = len(fields) == _FIELDS and "*" in (fields[0][0], fields[1][0])
    by_clock = by_clock or text.strip().lower() == "@hourly"
    polling = Polling.MINUTE if by_clock else Polling.NEXT_RUN
    return Reading(dialect, schedules, read_cron_text(text, dialect), polling)


def _vixie(text: str) -> tuple[CronSchedule, ...]:
    """Say in ours what vixie reads, "either day" as the two schedules that it is; croniter takes texts that vixie refuses."""
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
    """Yield the times in ``[start, end)`` at which one reading runs and the other does not, in order.

    Days on which both name the same times are not walked, except around a clock change.
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
