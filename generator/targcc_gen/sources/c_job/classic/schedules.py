"""When a row of TARGCC 4 runs, as fields of a job, with what its owner has to know about it.

What the kinds mean stands in ``targcc_scheduler.schedules.classic``, by which hybrid mode runs the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from targcc_scheduler.schedules.classic import (
    ClassicSchedule,
    ClassicScheduleError,
    ClassicTimes,
    Weekly,
    classic_schedule,
)

from targcc_gen.readers import cells
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job.model import Refused
from targcc_gen.sources.model import Past

T = TypeVar("T")

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SHORTEST_MONTH, _LONGEST_MONTH = 28, 31
_FEW_RUNS = 7


@dataclass(slots=True)
class Timing:
    """What a row says about its times, while it is read.

    Attributes:
        row: The row.
        now: The old server's wall clock now, to tell whether a one-off is still to come.
        active: Whether the row is switched on.
        weekly: How Weekly is read.
        past: What the old server logged about it.
        notes: What to look at, as it is found.
    """

    row: Row
    now: datetime
    active: bool
    weekly: Weekly = "every-day"
    past: Past | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def next_run(self) -> datetime | None:
        """``NextRunTime``."""
        return _time(self.row, "nextruntime")

    @property
    def last_run(self) -> datetime | None:
        """``LastRunTime``: when the last run ended."""
        return _time(self.row, "lastruntime")

    def times(self, kind: str) -> ClassicTimes:
        """The columns that say when it runs.

        Raises:
            Refused: A column that the kind needs cannot be read.
        """
        word = kind.lower()
        if word in _NEEDS_WHEN and "whentorun" not in self.row.values:
            raise Refused("WhenToRun is not in the export")
        when = _needed(cells.moment, self.row, "whentorun", needed=word in _NEEDS_WHEN)
        count = _needed(cells.integer, self.row, "cycliccount", needed=word.startswith("cyclic"))
        is_counted = word in _COUNTED and count != 1
        _needed(cells.moment, self.row, "nextruntime", needed=is_counted or word == "oneoff")
        if self.next_run is None:
            _needed(cells.moment, self.row, "lastruntime", needed=is_counted)
        return ClassicTimes(kind, when, count, self.next_run, self.last_run)


def _needed(read: Callable[..., T | None], row: Row, column: str, *, needed: bool) -> T | None:
    """A cell on which the schedule depends, if it is ``needed``; else ``None`` also where it cannot be read.

    Raises:
        Refused: It is needed and cannot be read, or can be read in several ways.
    """
    try:
        return read(row, column)
    except cells.UnreadableCellError as error:
        if needed or error.is_ambiguous:
            raise Refused(str(error)) from None
        return None


def _time(row: Row, column: str) -> datetime | None:
    """A time; the first day of the calendar is how the old runner's language writes none.

    Raises:
        Refused: It can be read in several ways.
    """
    moment = _needed(cells.moment, row, column, needed=False)
    return None if moment is None or moment.year == 1 else moment


def schedule(kind: str, timing: Timing) -> dict[str, Any]:
    """The ``JobSpec`` fields of a kind, ``enmJobType``.

    Raises:
        Refused: It is no kind of schedule, or none that could run.
    """
    times = timing.times(kind)
    try:
        found = classic_schedule(times, now=timing.now, weekly=timing.weekly)
    except ClassicScheduleError as error:
        raise Refused(str(error)) from None
    if tell := _NOTES.get(kind.lower()):
        tell(timing, times)
    _tell_what_is_counted_from(timing, found, times)
    if kind.lower() == "oneoff" and (found.at is None or found.at <= timing.now):
        timing.notes.append(f"OneOff: {_why_manual(timing, times)}; it is a manual job now")
        return {"type": "manual"}
    return found.options()


def _weekly(timing: Timing, times: ClassicTimes) -> None:
    """The old runner computes the weekday and drops it."""
    when = times.first
    day = _DAYS[when.weekday()]
    ran = f"Weekly: the old runner drops the weekday and runs it every day at {when:%H:%M}, not only on {day}"
    if timing.weekly == "every-day":
        timing.notes.append(
            f"{ran}; so does the new job{_what_history_says(timing.past, when)}."
            f" Decide: --weekly as-meant makes it {day}; --weekly repaired says that your runner was mended to keep the weekday"
        )
    elif timing.weekly == "as-meant":
        text = f"{ran}; the new job runs on {day}, as it was meant{_what_history_says(timing.past, when)}"
        timing.notes.append(text)


def _what_history_says(past: Past | None, when: datetime) -> str:
    if past is None or past.runs < _FEW_RUNS:
        return "; the history has too few runs to tell what people were used to"
    meant = past.weekdays[when.weekday()]
    return f"; of {past.runs} logged runs, {past.runs - meant} were on other days"


def _monthly(timing: Timing, times: ClassicTimes) -> None:
    """In a month without its day the next run could not be computed."""
    day = times.first.day
    if day > _SHORTEST_MONTH:
        last = day == _LONGEST_MONTH
        ours = "on each month's last day, too" if last else "only in months that have the day"
        timing.notes.append(
            f"Monthly on day {day}: in a shorter month the old runner ran it on the last day, could not store its end, and did nothing"
            f" else until the month was over; the new job runs {ours}, and nothing hangs"
        )


def _annually(timing: Timing, times: ClassicTimes) -> None:
    if (times.first.month, times.first.day) == (2, 29):
        timing.notes.append(
            "Annually on 29 February: in a common year the old runner ran it on the 28th, could not store its end, and hung; the new job"
            " runs in leap years only. Choose 28 FEB or L FEB if it should run each year"
        )


def _tell_what_is_counted_from(timing: Timing, found: ClassicSchedule, times: ClassicTimes) -> None:
    match found.counted_from:
        case "LastRunTime":
            timing.notes.append(
                f"NextRunTime is NULL: counted from LastRunTime, {times.last_run:%Y-%m-%d %H:%M}, which is when a run ended, as ScanJobs would"
            )
        case "WhenToRun" | "now":
            when = times.when or timing.now
            timing.notes.append(
                f"it has neither NextRunTime nor LastRunTime: counted from {when:%Y-%m-%d %H:%M}; the old runner would have begun with its"
                " next scan"
            )


def _why_manual(timing: Timing, times: ClassicTimes) -> str:
    at = times.next_run
    if at is not None and at > timing.now:
        return (
            f"NextRunTime, {at:%Y-%m-%d}, is the end of the calendar: it was not to run by itself"
        )
    if at is not None:
        return f"NextRunTime, {at:%Y-%m-%d %H:%M}, has passed and it did not run; the old runner would run it at once"
    if not timing.active:
        ran = f"it ran on {times.last_run:%Y-%m-%d} and " if times.last_run else "it "
        return f"{ran}is switched off; a program or person started it with run now"
    return (
        f"NextRunTime is NULL: the next scan would set it to {times.first:%Y-%m} on the day of that scan. When is it to run?"
        " Give the job at: in targcc.yaml"
    )


_NOTES: dict[str, Callable[[Timing, ClassicTimes], None]] = {
    "weekly": _weekly,
    "monthly": _monthly,
    "annually": _annually,
}
_NEEDS_WHEN = {"daily", "weekly", "monthly", "annually", "cyclicday", "cyclichour"}
_COUNTED = {"cyclicday", "cyclichour"}
"""Kinds that are counted from another run, where their count is not 1."""
