"""TaskManager of TARGCC 4: one runner with its rows, one job at a time, simulated over a period."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.classic_row import (
    CannotComputeError,
    ClassicRow,
    ended,
    filled,
    why_never_computed,
)
from targcc_gen.old_runners.wall_clock import WallClock

_NOT_TAKEN = frozenset({"scanjobs", "imalive"})
"""``ImAlive`` is not run. ``ScanJobs`` is not simulated as a job: the rows are as after its scan."""
_STALE = timedelta(days=40)
_FAR = 9000


@dataclass(frozen=True, slots=True)
class Settings:
    """What CLASSIC's source leaves open, or differs from machine to machine.

    Attributes:
        look: How long after a row's time the runner looks, at the least; it sleeps a second between two looks.
        durations: How long the runs of a row take, by its code; a row that is not named takes no time.
        repaired_weekly: The shop's copy of the source keeps the weekday that the original computes and drops.
        claim_keeps_start: Whether ``c_JobUpdateSetToInProcess`` writes the start into ``LastRunTime``, as the readers of the column
            expect. Without it, cycles would count from the end of the run before.
    """

    look: timedelta = timedelta(microseconds=1)
    durations: Mapping[str, timedelta] = field(default_factory=lambda: MappingProxyType({}))
    repaired_weekly: bool = False
    claim_keeps_start: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a row.

    Attributes:
        row: The row's place among those that were given.
        slot: When it was due: its ``NextRunTime``, or the end of the gap that it is in.
        start: When it began.
        end: When its end was stored.
        hung: When its end was due to be stored, if that failed and the runner hung until ``end``.
    """

    row: int
    slot: datetime
    start: datetime
    end: datetime
    hung: datetime | None = None


class ClassicRunner:
    """One runner. Rows of other runners run beside it.

    Args:
        rows: Its rows; those that TaskManager does not take are left alone.
        zone: The zone of its machine.
        settings: What may differ.
    """

    def __init__(
        self, rows: Iterable[ClassicRow], zone: ZoneInfo, settings: Settings | None = None
    ) -> None:
        self._rows = list(rows)
        self._zone = zone
        self._settings = settings or Settings()

    def runs(self, start: datetime, end: datetime) -> Iterator[Run]:
        """The runs that are due in ``[start, end)``, in the order in which they begin.

        Rows whose time has passed long before ``start`` are taken to have gone on since then.

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
    """Whether a code is one that the runner does not run as a job."""
    return row.code.lower() in _NOT_TAKEN


def _instant(row: ClassicRow, zone: ZoneInfo) -> datetime:
    if row.next_run is None or row.next_run.year > _FAR:
        return datetime.max.replace(tzinfo=UTC)
    return row.next_run.replace(tzinfo=zone).astimezone(UTC)


class _Simulation:
    """One pass over a period."""

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
        """The runs of the period, and of the time before it that the rows' phases come from."""
        while (chosen := self._next()) is not None:
            yield self._run(*chosen)

    def _scan(self, rows: Mapping[int, ClassicRow]) -> None:
        """``ScanJobs``: fill what is NULL. What cannot be computed is tried again in another month."""
        shown = self._clock.shown(self._now)
        for place, row in list(rows.items()):
            try:
                self._set(place, filled(row, shown))
                self._broken.pop(place, None)
            except CannotComputeError:
                self._broken[place] = row

    def _next(self) -> tuple[int, datetime] | None:
        """The row that runs next, and when; of rows that are due together the one with the oldest time."""
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
        """When a look finds the row due: by the clock as it is then, which may have gone back since."""
        due = self._due[place]
        return due if due >= self._now else self._clock.reached(self._wanted(place), self._now)

    def _wanted(self, place: int) -> datetime:
        wanted = self._rows[place].next_run
        assert wanted is not None
        return wanted

    def _set(self, place: int, row: ClassicRow) -> None:
        """Store a row, and when it is due."""
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
        """The weekday, where the shop's copy keeps it."""
        if not self._settings.repaired_weekly or row.kind != "weekly" or row.next_run is None:
            return row
        wanted = row.when.weekday() if row.when else 0
        days = (wanted - row.next_run.weekday()) % 7
        return replace(row, next_run=row.next_run + timedelta(days=days))


def _caught_up(row: ClassicRow, now: datetime) -> ClassicRow:
    """A row whose time has passed long ago, as though it had run since: only its phase is known."""
    if row.next_run is None or row.next_run >= now:
        return row
    if row.kind == "oneoff" or why_never_computed(row):
        return row  # it has not run since
    unit = {"cyclicday": timedelta(days=1), "cyclichour": timedelta(hours=1)}.get(row.kind)
    if unit is None:
        return replace(row, next_run=None)
    step = row.count * unit
    return replace(row, next_run=row.next_run + -(-(now - row.next_run) // step) * step)
