"""Translate the schedule kinds of TARGCC 4's ``c_Job`` into the nearest schedules of this package.

``w`` is ``WhenToRun``, ``n`` is ``CyclicCount``. The docstring of each kind says how the old runner computed the next run. Times are the
old server's wall clock; the old runner dropped seconds. A cycle is counted from ``NextRunTime``. ``LastRunTime`` is the end of a run, which
may have passed midnight or the hour, so ``LastRunTime`` is used only without ``NextRunTime``.

The import of a table and hybrid mode use these rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

Weekly = Literal["every-day", "as-meant", "repaired"]
"""How to read the kind Weekly: every day, as the old runner computes the next run; on the intended weekday; or on that weekday, because the
shop has repaired its copy of the runner."""

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS: tuple[str, ...] = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN")
_MONTHS += ("JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NULL = datetime(1, 1, 1)  # noqa: DTZ001 - the wall clock that NULL is to the old runner
_LAST_DAY = 31
_HOURS = 24
_DAY, _HOUR, _CENTURY = timedelta(days=1), timedelta(hours=1), timedelta(days=36525)
_END_OF_TIME = 9000


class ClassicScheduleError(ValueError):
    """The columns of a row make no schedule; the message names the column and the reason."""

    code = "TS302"


@dataclass(frozen=True, slots=True)
class ClassicTimes:
    """The columns of a row that define its schedule; ``None`` is NULL.

    Attributes:
        kind: ``enmJobType``, in any case.
        when: ``WhenToRun``.
        count: ``CyclicCount``.
        next_run: ``NextRunTime``.
        last_run: ``LastRunTime``, the end of the last run.
    """

    kind: str
    when: datetime | None = None
    count: int | None = None
    next_run: datetime | None = None
    last_run: datetime | None = None

    @property
    def first(self) -> datetime:
        """``WhenToRun`` without seconds; NULL reads as midnight on 1 January of year 1, a Monday."""
        return (self.when or _NULL).replace(second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class ClassicSchedule:
    """The schedule of a row; without ``cron``, ``every`` and ``at`` the job runs only on request.

    Attributes:
        cron: A cron expression.
        every: The interval between runs.
        anchor: The run from which a cycle is counted, on the old server's wall clock.
        after: ``start`` counts the interval from the start of the previous run.
        at: The time of the only run.
        counted_from: The column that gives the phase of the cycle, or ``now``.
    """

    cron: str | None = None
    every: timedelta | None = None
    anchor: datetime | None = None
    after: Literal["start"] | None = None
    at: datetime | None = None
    counted_from: Literal["NextRunTime", "LastRunTime", "WhenToRun", "now"] | None = None

    def options(self) -> dict[str, Any]:
        """Return the values of ``cron``, ``every``, ``anchor``, ``after`` and ``at`` that are not ``None``."""
        given = {"cron": self.cron, "every": self.every, "anchor": self.anchor}
        given |= {"after": self.after, "at": self.at}
        return {name: value for name, value in given.items() if value is not None}


def classic_schedule(
    times: ClassicTimes, *, now: datetime, weekly: Weekly = "every-day"
) -> ClassicSchedule:
    """Return the schedule of a row.

    Args:
        times: The row's columns.
        now: The old server's wall clock; a cycle is counted from ``now`` when all time columns are NULL.
        weekly: How to read the kind Weekly.

    Raises:
        ClassicScheduleError: the kind is unknown, or ``CyclicCount`` is NULL, not positive, or more than a hundred years.
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
    """Run today at w's time, else tomorrow. Weekly runs daily, too: the old runner computed the weekday and dropped it."""
    return ClassicSchedule(cron=f"{_clock(times.first)} * * *")


def _on_its_weekday(times: ClassicTimes) -> ClassicSchedule:
    when = times.first
    return ClassicSchedule(cron=f"{_clock(when)} * * {WEEKDAYS[when.weekday()]}")


def _monthly(times: ClassicTimes, _now: datetime) -> ClassicSchedule:
    """Run this month on w's day, else a month later, clipped to the month's end.

    In a month without w's day the old runner ran the job and then hung. Day 31 becomes ``L``.
    """
    when = times.first
    return ClassicSchedule(cron=f"{_clock(when)} {'L' if when.day == _LAST_DAY else when.day} * *")


def _annually(times: ClassicTimes, _now: datetime) -> ClassicSchedule:
    """Run on w's day and month this year, else a year later. For 29 February the old runner threw in every common year."""
    when = times.first
    return ClassicSchedule(cron=f"{_clock(when)} {when.day} {_MONTHS[when.month - 1]} *")


def _cyclic_day(times: ClassicTimes, now: datetime) -> ClassicSchedule:
    """Start at the anchor's date and w's time; add n days until the result is later than now."""
    when, count = times.first, _count(times, _DAY)
    if count == 1:
        return _daily(times, now)
    anchor_time, column = _anchor(times, now)
    anchor = datetime.combine(anchor_time.date(), when.time())
    return ClassicSchedule(every=count * _DAY, anchor=anchor, counted_from=column)


def _cyclic_hour(times: ClassicTimes, now: datetime) -> ClassicSchedule:
    """Start at the anchor's hour and w's minute; add n hours by wall clock until the result is later than now.

    When n divides 24, the cron expression lists the hours. A list follows the wall clock, as the old runner did, and runs once in a
    repeated hour. Any other n becomes an interval in elapsed time.
    """
    when, count = times.first, _count(times, _HOUR)
    if count == 1:
        return ClassicSchedule(cron=f"{when.minute} * * * *")
    anchor_time, column = _anchor(times, now)
    anchor = anchor_time.replace(minute=when.minute, second=0, microsecond=0)
    if _HOURS % count:
        return ClassicSchedule(every=count * _HOUR, anchor=anchor, counted_from=column)
    hours = ",".join(str(hour) for hour in range(anchor.hour % count, _HOURS, count))
    return ClassicSchedule(cron=f"{when.minute} {hours} * * *", counted_from=column)


def _after_start(unit: timedelta) -> Callable[[ClassicTimes, datetime], ClassicSchedule]:
    def read(times: ClassicTimes, _now: datetime) -> ClassicSchedule:
        """Run n minutes or seconds after the last start, or at once when that time has passed."""
        return ClassicSchedule(every=unit * _count(times, unit), after="start")

    return read


def _one_off(times: ClassicTimes, _now: datetime) -> ClassicSchedule:
    """Run once at ``NextRunTime``; the old runner then switched the row off. With NULL, or a year from 9000 on, run only on request."""
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
    """Return the time from which a cycle is counted, and the column of that time or ``now``."""
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
