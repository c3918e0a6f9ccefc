"""The kinds of schedule of TARGCC 4's ``c_Job``, each as the nearest schedule of ours.

``w`` is ``WhenToRun``, ``n`` is ``CyclicCount``. How the old runner computed its next run is told beside each kind. Times are its wall
clock, and it dropped seconds. A cycle is counted from ``NextRunTime``: ``LastRunTime`` is the end of a run, which may have passed midnight
or the hour, and counts only where there is nothing else.

The import translates a table by this, and hybrid mode runs one by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

Weekly = Literal["every-day", "as-meant", "repaired"]
"""How Weekly is read: every day, as the old runner computes it; on the weekday it was meant for; or on that weekday since the shop has
repaired its copy of the runner."""

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS: tuple[str, ...] = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN")
_MONTHS += ("JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NULL = datetime(1, 1, 1)  # noqa: DTZ001 - the wall clock that NULL is to the old runner
_LAST_DAY = 31
_HOURS = 24
_DAY, _HOUR, _CENTURY = timedelta(days=1), timedelta(hours=1), timedelta(days=36525)
_END_OF_TIME = 9000


class ClassicScheduleError(ValueError):
    """A row's columns make no schedule; the message says which of them, and why."""


@dataclass(frozen=True, slots=True)
class ClassicTimes:
    """What a row says about when it runs; ``None`` is NULL.

    Attributes:
        kind: ``enmJobType``, in any case.
        when: ``WhenToRun``.
        count: ``CyclicCount``.
        next_run: ``NextRunTime``.
        last_run: ``LastRunTime``: when the last run ended.
    """

    kind: str
    when: datetime | None = None
    count: int | None = None
    next_run: datetime | None = None
    last_run: datetime | None = None

    @property
    def first(self) -> datetime:
        """W without its seconds; NULL is midnight on the 1st of January, a Monday."""
        return (self.when or _NULL).replace(second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class ClassicSchedule:
    """When a row runs; with neither ``cron``, ``every`` nor ``at`` only when somebody asks.

    Attributes:
        cron: A cron expression.
        every: The time from one run to the next.
        anchor: A run from which a cycle is counted, on the old server's wall clock.
        after: ``start``: it is counted from the start of the run before.
        at: The only run.
        counted_from: The column of which the cycle's phase was taken, or ``now``.
    """

    cron: str | None = None
    every: timedelta | None = None
    anchor: datetime | None = None
    after: Literal["start"] | None = None
    at: datetime | None = None
    counted_from: Literal["NextRunTime", "LastRunTime", "WhenToRun", "now"] | None = None

    def options(self) -> dict[str, Any]:
        """``cron``, ``every``, ``anchor``, ``after`` and ``at``, those that are given."""
        given = {"cron": self.cron, "every": self.every, "anchor": self.anchor}
        given |= {"after": self.after, "at": self.at}
        return {name: value for name, value in given.items() if value is not None}


def classic_schedule(
    times: ClassicTimes, *, now: datetime, weekly: Weekly = "every-day"
) -> ClassicSchedule:
    """The schedule of a row.

    Args:
        times: The row's columns.
        now: The old server's wall clock, from which a cycle is counted when nothing else is known.
        weekly: How Weekly is read.

    Raises:
        ClassicScheduleError: its kind is none, or the old runner could not compute a next run with its count.
    """
    kind = times.kind.strip()
    read = _KINDS.get(kind.lower())
    if read is None:
        shown = f'"{kind}"' if kind else "NULL"
        raise ClassicScheduleError(f"enmJobType {shown} is no kind of schedule")
    if kind.lower() == "weekly" and weekly != "every-day":
        return _on_its_weekday(times)
    return read(times, now)


def _daily(times: ClassicTimes, _now: datetime) -> ClassicSchedule:
    """Today at w's time, else tomorrow. Weekly is the same: its weekday is computed and dropped."""
    return ClassicSchedule(cron=f"{_clock(times.first)} * * *")


def _on_its_weekday(times: ClassicTimes) -> ClassicSchedule:
    when = times.first
    return ClassicSchedule(cron=f"{_clock(when)} * * {WEEKDAYS[when.weekday()]}")


def _monthly(times: ClassicTimes, _now: datetime) -> ClassicSchedule:
    """This month on w's day, else a month later, clipped to the month's end. In a month without that day it ran and then hung: ``L`` for 31."""
    when = times.first
    return ClassicSchedule(cron=f"{_clock(when)} {'L' if when.day == _LAST_DAY else when.day} * *")


def _annually(times: ClassicTimes, _now: datetime) -> ClassicSchedule:
    """W's day and month this year, else a year later. 29 February throws in every common year."""
    when = times.first
    return ClassicSchedule(cron=f"{_clock(when)} {when.day} {_MONTHS[when.month - 1]} *")


def _cyclic_day(times: ClassicTimes, now: datetime) -> ClassicSchedule:
    """From the start's date at w's time, plus n days until later than now."""
    when, count = times.first, _count(times, _DAY)
    if count == 1:
        return _daily(times, now)
    found, column = _anchor(times, now)
    anchor = datetime.combine(found.date(), when.time())
    return ClassicSchedule(every=count * _DAY, anchor=anchor, counted_from=column)


def _cyclic_hour(times: ClassicTimes, now: datetime) -> ClassicSchedule:
    """From the start's hour at w's minute, plus n hours, by the clock, until later than now.

    Where the hours are the same each day they are listed: a list keeps the clock, as the old runner did, and runs once in the hour that
    comes twice. Others are counted in elapsed time.
    """
    when, count = times.first, _count(times, _HOUR)
    if count == 1:
        return ClassicSchedule(cron=f"{when.minute} * * * *")
    found, column = _anchor(times, now)
    anchor = found.replace(minute=when.minute, second=0, microsecond=0)
    if _HOURS % count:
        return ClassicSchedule(every=count * _HOUR, anchor=anchor, counted_from=column)
    hours = ",".join(str(hour) for hour in range(anchor.hour % count, _HOURS, count))
    return ClassicSchedule(cron=f"{when.minute} {hours} * * *", counted_from=column)


def _after_start(unit: timedelta) -> Callable[[ClassicTimes, datetime], ClassicSchedule]:
    def read(times: ClassicTimes, _now: datetime) -> ClassicSchedule:
        """The last start plus n minutes or seconds, or at once if that has passed."""
        return ClassicSchedule(every=unit * _count(times, unit), after="start")

    return read


def _one_off(times: ClassicTimes, _now: datetime) -> ClassicSchedule:
    """At ``NextRunTime``; then the row is switched off. NULL, or the end of the calendar, waits for somebody."""
    at = times.next_run
    return ClassicSchedule(at=at if at is not None and at.year < _END_OF_TIME else None)


def _clock(when: datetime) -> str:
    return f"{when.minute} {when.hour}"


def _count(times: ClassicTimes, unit: timedelta) -> int:
    count = times.count
    if count is None or count <= 0:
        shown = "NULL" if count is None else count
        raise ClassicScheduleError(
            f"CyclicCount is {shown}: the old runner logged fault 127 and could not say when it runs next"
        )
    if count > _CENTURY // unit:
        raise ClassicScheduleError(f"CyclicCount is {count}: that is more than a hundred years")
    return count


def _anchor(
    times: ClassicTimes, now: datetime
) -> tuple[datetime, Literal["NextRunTime", "LastRunTime", "WhenToRun", "now"]]:
    """From when a cycle is counted, and which column says so."""
    if times.next_run is not None:
        return times.next_run, "NextRunTime"
    if times.last_run is not None:
        return times.last_run, "LastRunTime"
    return (now, "now") if times.when is None else (times.when, "WhenToRun")


_KINDS: dict[str, Callable[[ClassicTimes, datetime], ClassicSchedule]] = {
    "daily": _daily,
    "weekly": _daily,
    "monthly": _monthly,
    "annually": _annually,
    "cyclicday": _cyclic_day,
    "cyclichour": _cyclic_hour,
    "cyclicmin": _after_start(timedelta(minutes=1)),
    "cyclicsec": _after_start(timedelta(seconds=1)),
    "oneoff": _one_off,
}
