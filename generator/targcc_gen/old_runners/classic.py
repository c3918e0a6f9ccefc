"""TaskManager of TARGCC 4: the rule for a row's next run, and a simulation of the runner.

Times are the wall clock of TaskManager's machine; seconds of ``WhenToRun`` are dropped. NULL reads as false, 0, or no time.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.wall_clock import WallClock
from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.rows import Row

# A row, and the rule of its next run.

_NULL = datetime(1, 1, 1)  # noqa: DTZ001 - what NULL is: midnight on the 1st of January
_DECEMBER = 12


class CannotComputeError(Exception):
    """The old runner cannot compute the next run of a row; the text is the runner's error."""


@dataclass(frozen=True, slots=True)
class ClassicRow:
    """The columns of a row that the runner uses.

    Attributes:
        code: The work, ``lkpJob``.
        runner: The row's runner, ``lkpJobRunner``.
        kind: ``enmJobType``, in lower case.
        when: ``WhenToRun``.
        count: ``CyclicCount``.
        next_run: ``NextRunTime``: the row is due when the clock shows a later time.
        last_run: ``LastRunTime``: the start of the current run, else the end of the last run.
        active: Whether the row runs at all.
        managed: Whether TaskManager starts the row; otherwise an outside program does.
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
        """Whether TaskManager takes the row."""
        return self.active and self.managed


def read_classic(row: Row) -> ClassicRow:
    """Read a row; a column missing in the export gets the value that lets the row run."""
    return ClassicRow(
        code=reader_rows.text(row, "lkpjob") or "",
        runner=reader_rows.text(row, "lkpjobrunner") or "",
        kind=(reader_rows.text(row, "enmjobtype") or "").lower(),
        when=reader_rows.readable(reader_rows.moment, row, "whentorun"),
        count=reader_rows.readable(reader_rows.integer, row, "cycliccount") or 0,
        next_run=_time(row, "nextruntime"),
        last_run=_time(row, "lastruntime"),
        active=_bit(row, "active"),
        managed=_bit(row, "ismanaged"),
    )


def _time(row: Row, column: str) -> datetime | None:
    """Return a time. The first day of the calendar means none: the old runner's language writes it so."""
    moment = reader_rows.readable(reader_rows.moment, row, column)
    return None if moment is None or moment.year == 1 else moment


def _bit(row: Row, column: str) -> bool:
    return (
        bool(reader_rows.readable(reader_rows.flag, row, column)) if column in row.values else True
    )


def why_never_computed(row: ClassicRow) -> str:
    """Return the reason that the old runner cannot compute a next run in any month; empty if some month allows it."""
    if row.kind not in _KINDS:
        return f"its enmJobType is {row.kind.upper() or 'NULL'}"
    if row.kind.startswith("cyclic") and row.count <= 0:
        return f"its CyclicCount is {row.count}"
    return ""


def next_time(row: ClassicRow, now: datetime) -> datetime:
    """Return the time of the row's next run.

    Args:
        row: The row. At the end of a run ``last_run`` is still the start; when ``ScanJobs`` fills a NULL it is the end of the last run.
        now: The wall time.

    Raises:
        CannotComputeError: The runner fails; it may succeed in another month.
    """
    compute = _KINDS.get(row.kind)
    if compute is None:
        raise CannotComputeError(f"Invalid JobType: {row.kind or 'NULL'}")
    if row.kind.startswith("cyclic") and row.count <= 0:
        raise CannotComputeError(f"fault 127: CyclicCount is {row.count}")
    return compute(row, now)


def filled(row: ClassicRow, now: datetime) -> ClassicRow:
    """Return the row after a scan of ``ScanJobs``: a ``NextRunTime`` of NULL is computed.

    Raises:
        CannotComputeError: As for :func:`next_time`.
    """
    return row if row.next_run is not None else replace(row, next_run=next_time(row, now))


def ended(row: ClassicRow, start: datetime, end: datetime) -> ClassicRow:
    """Return the row after a run.

    Args:
        row: The row.
        start: The wall time at the start of the run.
        end: The wall time at the storing of the end.

    Raises:
        CannotComputeError: The end cannot be stored: the row stays as it was, in process.
    """
    if row.kind == "oneoff":
        return replace(row, active=False, next_run=None, last_run=end)
    return replace(row, next_run=next_time(replace(row, last_run=start), end), last_run=end)


# The kinds.


def _at(day: datetime, row: ClassicRow) -> datetime:
    """Return a day at the hour and minute of ``WhenToRun``."""
    when = row.when or _NULL
    return day.replace(hour=when.hour, minute=when.minute, second=0, microsecond=0)


def _on(year: int, month: int, day: int, row: ClassicRow) -> datetime:
    """Return the time by ``New Date(…)``, which throws when the month has no such day."""
    try:
        return _at(datetime(year, month, day), row)  # noqa: DTZ001 - wall clock
    except ValueError:
        raise CannotComputeError(f"there is no {year}-{month:02}-{day:02}") from None


def _months_later(moment: datetime, months: int) -> datetime:
    """Return the time by ``AddMonths``: a day that the month lacks becomes its last day."""
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
    """Add steps to ``base`` until it is later than ``now``."""
    return base if base > now else base + ((now - base) // step + 1) * step


def _from_start(unit: timedelta) -> Callable[[ClassicRow, datetime], datetime]:
    def compute(row: ClassicRow, now: datetime) -> datetime:
        return now if row.last_run is None else max(row.last_run + row.count * unit, now)

    return compute


def _one_off(row: ClassicRow, now: datetime) -> datetime:
    """Return the month of ``WhenToRun`` with today's day."""
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


# The runner: one job at a time, simulated over a period.

_NOT_TAKEN = frozenset({"scanjobs", "imalive"})
"""Codes that are not simulated. ``ImAlive`` is not run. The rows are already as after a scan of ``ScanJobs``."""
_STALE = timedelta(days=40)
_FAR = 9000


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that CLASSIC's source leaves open, or that differ between machines.

    Attributes:
        look: The shortest delay between a row's time and the runner's look; the runner sleeps a second between two looks.
        durations: The duration of a row's runs, by its code; default: no time.
        repaired_weekly: Whether this copy of the source keeps the weekday that the original computes and drops.
        claim_keeps_start: Whether ``c_JobUpdateSetToInProcess`` writes the start into ``LastRunTime``, as the readers of the column
            expect. Without it, cycles count from the end of the run before.
    """

    look: timedelta = timedelta(microseconds=1)
    durations: Mapping[str, timedelta] = field(default_factory=lambda: MappingProxyType({}))
    repaired_weekly: bool = False
    claim_keeps_start: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a row.

    Attributes:
        row: The row's index in the given rows.
        slot: The due time: its ``NextRunTime``, or the end of the gap around that time.
        start: The start of the run.
        end: The time at which the end was stored.
        hung: The time at which the end was due to be stored, if that failed and the runner hung until ``end``.
    """

    row: int
    slot: datetime
    start: datetime
    end: datetime
    hung: datetime | None = None


class ClassicRunner:
    """A runner; rows of other runners run in parallel.

    Args:
        rows: The runner's rows; rows that TaskManager does not take are skipped.
        zone: The zone of the runner's machine.
        settings: Settings of the runner.
    """

    def __init__(
        self, rows: Iterable[ClassicRow], zone: ZoneInfo, settings: Settings | None = None
    ) -> None:
        self._rows = list(rows)
        self._zone = zone
        self._settings = settings or Settings()

    def runs(self, start: datetime, end: datetime) -> Iterator[Run]:
        """Yield the runs that are due in ``[start, end)``, in the order of their starts.

        A row whose time passed long before ``start`` is assumed to have run since.

        Args:
            start: An aware instant.
            end: An aware instant.
        """
        taken = {
            place: row for place, row in enumerate(self._rows) if row.runs and not is_no_job(row)
        }
        begin = min([start, *(_instant(row, self._zone) for row in taken.values())])
        begin = max(begin, start - _STALE)
        simulation = _Simulation(
            taken, WallClock(self._zone, begin, end), self._settings, begin, end
        )
        return (run for run in simulation.runs() if run.slot >= start)


def is_no_job(row: ClassicRow) -> bool:
    """Return whether the runner does not run the row's code as a job."""
    return row.code.lower() in _NOT_TAKEN


def _instant(row: ClassicRow, zone: ZoneInfo) -> datetime:
    if row.next_run is None or row.next_run.year > _FAR:
        return datetime.max.replace(tzinfo=UTC)
    return row.next_run.replace(tzinfo=zone).astimezone(UTC)


class _Simulation:
    """A single pass over a period."""

    def __init__(
        self,
        rows: Mapping[int, ClassicRow],
        clock: WallClock,
        settings: Settings,
        now: datetime,
        end: datetime,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._now = now
        self._end = end
        self._broken: dict[int, ClassicRow] = {}
        self._rows: dict[int, ClassicRow] = {}
        self._due: dict[int, datetime] = {}
        self._scan({place: _caught_up(row, clock.shown(now)) for place, row in rows.items()})

    def runs(self) -> Iterator[Run]:
        """Yield the runs of the period, and the runs before the period that give rows their phase."""
        while (chosen := self._next()) is not None:
            yield self._run(*chosen)

    def _scan(self, rows: Mapping[int, ClassicRow]) -> None:
        """Fill NULL times as ``ScanJobs`` does; retry a failed row in another month."""
        shown = self._clock.shown(self._now)
        for place, row in list(rows.items()):
            try:
                self._set(place, filled(row, shown))
                self._broken.pop(place, None)
            except CannotComputeError:
                self._broken[place] = row

    def _next(self) -> tuple[int, datetime] | None:
        """Return the row that runs next, and its time. Of rows that are due together the oldest time wins."""
        while True:
            times = {place: self._time(place) for place in self._due}
            first = min(times.values(), default=None)
            if self._broken:
                month = self._next_month()
                if month < self._end and (first is None or month <= first):
                    self._now = month
                    self._scan(dict(self._broken))
                    continue
            if first is None or first >= self._end:
                return None
            waiting = [place for place, time in times.items() if time <= first]
            return min(waiting, key=lambda place: (self._wanted(place), place)), first

    def _time(self, place: int) -> datetime:
        """Return the time at which a look finds the row due, by the current clock: it may have gone back since the row was stored."""
        due = self._due[place]
        return due if due >= self._now else self._clock.reached(self._wanted(place), self._now)

    def _wanted(self, place: int) -> datetime:
        wanted = self._rows[place].next_run
        assert wanted is not None
        return wanted

    def _set(self, place: int, row: ClassicRow) -> None:
        """Store a row and its due time."""
        row = self._weekly(row)
        self._rows[place] = row
        self._due.pop(place, None)
        if row.next_run is not None:
            self._due[place] = self._clock.reached(row.next_run, self._now)

    def _next_month(self) -> datetime:
        shown = self._clock.shown(self._now)
        first = (shown.replace(day=1) + timedelta(days=32)).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        return self._clock.reached(first, self._now)

    def _run(self, place: int, time: datetime) -> Run:
        row, slot = self._rows[place], self._due[place]
        start = time + self._settings.look
        end = start + self._settings.durations.get(row.code, timedelta(0))
        began = self._clock.shown(start)
        if not self._settings.claim_keeps_start:
            began = row.last_run or began
        self._now, hung = end, None
        while True:
            try:
                after = ended(row, began, self._clock.shown(self._now))
                break
            except CannotComputeError:
                hung = end
                self._now = self._next_month()
                if self._now >= self._end:
                    after = replace(row, active=False, next_run=None)
                    break
        self._set(place, after)
        return Run(place, slot, start, self._now, hung)

    def _weekly(self, row: ClassicRow) -> ClassicRow:
        """Move the next run to the row's weekday, if this copy of the source keeps the weekday."""
        if not self._settings.repaired_weekly or row.kind != "weekly" or row.next_run is None:
            return row
        wanted = row.when.weekday() if row.when else 0
        days = (wanted - row.next_run.weekday()) % 7
        return replace(row, next_run=row.next_run + timedelta(days=days))


def _caught_up(row: ClassicRow, now: datetime) -> ClassicRow:
    """Advance a row whose time passed long ago, as if it had run since; only its phase is known."""
    if row.next_run is None or row.next_run >= now:
        return row
    if row.kind == "oneoff" or why_never_computed(row):
        return row  # no run since
    unit = {"cyclicday": timedelta(days=1), "cyclichour": timedelta(hours=1)}.get(row.kind)
    if unit is None:
        return replace(row, next_run=None)
    step = row.count * unit
    return replace(row, next_run=row.next_run + -(-(now - row.next_run) // step) * step)
