"""A row of TARGCC 4's ``c_Job`` as its runner reads it, and how it computes when the row runs next.

Times are the wall clock of TaskManager's machine; seconds of ``WhenToRun`` are dropped. NULL reads as false, 0, or no time.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from targcc_gen.readers import cells
from targcc_gen.readers.rows import Row

_NULL = datetime(1, 1, 1)  # noqa: DTZ001 - what NULL is: midnight on the 1st of January
_DECEMBER = 12


class CannotComputeError(Exception):
    """The old runner cannot say when the row runs next; the text is what it found."""


@dataclass(frozen=True, slots=True)
class ClassicRow:
    """What the runner minds of a row.

    Attributes:
        code: What the row runs, ``lkpJob``.
        runner: Whose row it is, ``lkpJobRunner``.
        kind: ``enmJobType``, in lower case.
        when: ``WhenToRun``.
        count: ``CyclicCount``.
        next_run: ``NextRunTime``: the row is due when the clock shows a later time.
        last_run: ``LastRunTime``: the start of a run that goes on, else the end of the last one.
        active: Whether it runs at all.
        managed: Whether TaskManager runs it; else an outside program asks for it.
    """

    code: str
    runner: str
    kind: str
    when: datetime | None = None
    count: int = 0
    next_run: datetime | None = None
    last_run: datetime | None = None
    active: bool = True
    managed: bool = True

    @property
    def runs(self) -> bool:
        """Whether TaskManager ever takes it."""
        return self.active and self.managed


def read_classic(row: Row) -> ClassicRow:
    """Read a row; a column that the export has not got is taken as what lets the row run."""
    return ClassicRow(
        code=cells.text(row, "lkpjob") or "",
        runner=cells.text(row, "lkpjobrunner") or "",
        kind=(cells.text(row, "enmjobtype") or "").lower(),
        when=cells.readable(cells.moment, row, "whentorun"),
        count=cells.readable(cells.integer, row, "cycliccount") or 0,
        next_run=_time(row, "nextruntime"),
        last_run=_time(row, "lastruntime"),
        active=_bit(row, "active"),
        managed=_bit(row, "ismanaged"),
    )


def _time(row: Row, column: str) -> datetime | None:
    """A time; the first day of the calendar is how the old runner's language writes none."""
    moment = cells.readable(cells.moment, row, column)
    return None if moment is None or moment.year == 1 else moment


def _bit(row: Row, column: str) -> bool:
    return bool(cells.readable(cells.flag, row, column)) if column in row.values else True


def why_never_computed(row: ClassicRow) -> str:
    """Why the old runner can say in no month when a row runs next; empty where it can in some."""
    if row.kind not in _KINDS:
        return f"its enmJobType is {row.kind.upper() or 'NULL'}"
    if row.kind.startswith("cyclic") and row.count <= 0:
        return f"its CyclicCount is {row.count}"
    return ""


def next_time(row: ClassicRow, now: datetime) -> datetime:
    """When the row runs next.

    Args:
        row: The row. At the end of a run ``last_run`` is still its start; when ``ScanJobs`` fills a NULL it is the end of the last run.
        now: What the clock shows.

    Raises:
        CannotComputeError: The runner fails at it; it may succeed in another month.
    """
    compute = _KINDS.get(row.kind)
    if compute is None:
        raise CannotComputeError(f"Invalid JobType: {row.kind or 'NULL'}")
    if row.kind.startswith("cyclic") and row.count <= 0:
        raise CannotComputeError(f"fault 127: CyclicCount is {row.count}")
    return compute(row, now)


def filled(row: ClassicRow, now: datetime) -> ClassicRow:
    """The row after ``ScanJobs`` has seen it: a ``NextRunTime`` of NULL is computed.

    Raises:
        CannotComputeError: As for :func:`next_time`.
    """
    return row if row.next_run is not None else replace(row, next_run=next_time(row, now))


def ended(row: ClassicRow, start: datetime, end: datetime) -> ClassicRow:
    """The row after a run.

    Args:
        row: The row.
        start: What the clock showed when the run began.
        end: And when its end was stored.

    Raises:
        CannotComputeError: The end cannot be stored: the row stays as it was, in process.
    """
    if row.kind == "oneoff":
        return replace(row, active=False, next_run=None, last_run=end)
    return replace(row, next_run=next_time(replace(row, last_run=start), end), last_run=end)


# --- The kinds --------------------------------------------------------------------------------------------------------


def _at(day: datetime, row: ClassicRow) -> datetime:
    """A day at the hour and minute of ``WhenToRun``."""
    when = row.when or _NULL
    return day.replace(hour=when.hour, minute=when.minute, second=0, microsecond=0)


def _on(year: int, month: int, day: int, row: ClassicRow) -> datetime:
    """``New Date(…)``: it throws when the month has no such day."""
    try:
        return _at(datetime(year, month, day), row)  # noqa: DTZ001 - wall clock
    except ValueError:
        raise CannotComputeError(f"there is no {year}-{month:02}-{day:02}") from None


def _months_later(moment: datetime, months: int) -> datetime:
    """``AddMonths``: a day that the month has not got becomes its last one."""
    month = moment.month - 1 + months
    year, month = moment.year + month // _DECEMBER, month % _DECEMBER + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    return moment.replace(year=year, month=month, day=day)


def _daily(row: ClassicRow, now: datetime) -> datetime:
    today = _at(now, row)
    return today + timedelta(days=1) if today < now else today


def _monthly(row: ClassicRow, now: datetime) -> datetime:
    this = _on(now.year, now.month, (row.when or _NULL).day, row)
    return _months_later(this, 1) if this < now else this


def _annually(row: ClassicRow, now: datetime) -> datetime:
    when = row.when or _NULL
    this = _on(now.year, when.month, when.day, row)
    return _months_later(this, _DECEMBER) if this < now else this


def _cyclic_day(row: ClassicRow, now: datetime) -> datetime:
    if row.last_run is None:
        return _daily(row, now)
    return _stepped(_at(row.last_run, row), timedelta(days=row.count), now)


def _cyclic_hour(row: ClassicRow, now: datetime) -> datetime:
    hour = timedelta(hours=1)
    minute = (row.when or _NULL).minute
    if row.last_run is None:
        this = now.replace(minute=minute, second=0, microsecond=0)
        return this + hour if this < now else this
    base = row.last_run.replace(minute=minute, second=0, microsecond=0)
    return _stepped(base, row.count * hour, now)


def _stepped(base: datetime, step: timedelta, now: datetime) -> datetime:
    """Steps are added until it is later than now."""
    return base if base > now else base + ((now - base) // step + 1) * step


def _from_start(unit: timedelta) -> Callable[[ClassicRow, datetime], datetime]:
    def compute(row: ClassicRow, now: datetime) -> datetime:
        return now if row.last_run is None else max(row.last_run + row.count * unit, now)

    return compute


def _one_off(row: ClassicRow, now: datetime) -> datetime:
    """The month of ``WhenToRun`` on the day that is today."""
    when = row.when or _NULL
    return _on(when.year, when.month, now.day, row)


_KINDS: Mapping[str, Callable[[ClassicRow, datetime], datetime]] = {
    "daily": _daily,
    "weekly": _daily,  # the weekday is computed and dropped
    "monthly": _monthly,
    "annually": _annually,
    "cyclicday": _cyclic_day,
    "cyclichour": _cyclic_hour,
    "cyclicmin": _from_start(timedelta(minutes=1)),
    "cyclicsec": _from_start(timedelta(seconds=1)),
    "oneoff": _one_off,
}
