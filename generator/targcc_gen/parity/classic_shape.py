"""Rows of TARGCC 4 against their new schedules: each row is simulated by the rules of its runner, and slots are compared one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules import Schedule
from targcc_scheduler.schedules.clocks.changes import ClockChange, clock_changes

from targcc_gen.old_runners.classic_row import ClassicRow, read_classic
from targcc_gen.old_runners.classic_runner import ClassicRunner, Run, Settings
from targcc_gen.parity.difference import Apart, Difference, apart, by_kind, change_at, season
from targcc_gen.sources.model import ImportedJob, Options

_FROM_START = frozenset({"cyclicmin", "cyclicsec"})
_A_FEW = 4


@dataclass(frozen=True, slots=True)
class Hang:
    """A time in which a runner does nothing, since the end of a job cannot be stored."""

    job: ImportedJob
    start: datetime
    end: datetime


class ClassicParity:
    """The comparison for all rows of an import.

    Args:
        jobs: The jobs, each with the schedule it has now.
        options: The old server's zone, and how its copy of the runner reads Weekly.
        start: From when; aware.
        end: Until when; aware.
    """

    def __init__(
        self,
        jobs: Sequence[tuple[ImportedJob, Schedule | None]],
        options: Options,
        start: datetime,
        end: datetime,
    ) -> None:
        self._zone = options.zone
        self._start, self._end = start, end
        self._nights = list(clock_changes(options.zone, start - timedelta(days=1), end))
        self._settings = Settings(repaired_weekly=options.weekly == "repaired")
        self._simulated_before: dict[ClassicRow, list[Run]] = {}
        self._slots_before: dict[Schedule, list[datetime]] = {}
        self._jobs = [(job, schedule, read_classic(job.row)) for job, schedule in jobs]
        self._runs = {job.key: self._simulated(row) for job, _, row in self._jobs}
        self._hangs = self._hangs_by_runner()

    def differences(self) -> Iterator[Difference]:
        """Where rows and jobs part, one difference of each kind for each job."""
        for job, schedule, row in self._jobs:
            if not row.managed:
                continue
            yield from self._own(job, schedule, row)
            yield from self._of_the_runner(job, schedule, row)

    def _simulated(self, row: ClassicRow) -> list[Run]:
        """The runs of a row that nothing delays; one that is switched off is taken as switched on."""
        if not row.managed or row.kind in _FROM_START:
            return []
        alone = replace(row, code="", runner="", active=True)
        if alone not in self._simulated_before:  # rows of one time are many
            runner = ClassicRunner([alone], self._zone, self._settings)
            self._simulated_before[alone] = list(runner.runs(self._start, self._end))
        return self._simulated_before[alone]

    def _hangs_by_runner(self) -> Mapping[str, list[Hang]]:
        found: dict[str, list[Hang]] = {}
        for job, _, row in self._jobs:
            for run in self._runs[job.key] if row.active else ():
                if run.hung is not None:
                    found.setdefault(row.runner, []).append(Hang(job, run.hung, run.end))
        return found

    # --- One row by itself --------------------------------------------------------------------------------------------

    def _own(
        self, job: ImportedJob, schedule: Schedule | None, row: ClassicRow
    ) -> Iterator[Difference]:
        if row.kind in _FROM_START:
            yield from self._from_start(job)
            return
        runs = self._runs[job.key]
        inside = (run.slot for run in runs if run.slot > self._start)
        found = apart(inside, self._new_slots(schedule))
        first = self._first_slot(row)

        kinds = self._kinds(row, found, first)

        def words(kind: str, one: Apart, count: int) -> tuple[str, str]:
            return self._words(kind, one, count, first)

        yield from by_kind(found, kinds.__getitem__, words, job)
        hung = next((run for run in runs if run.hung is not None), None)
        if hung is not None:
            until = self._shown(hung.end)
            old = f"runs; then its end cannot be stored, and its runner does nothing until {until:%d %b %Y %H:%M}"
            yield Difference(job, "month end", hung.slot, old, "runs, and nothing is held up")

    def _new_slots(self, schedule: Schedule | None) -> list[datetime]:
        if schedule is None:
            return []
        if schedule not in self._slots_before:
            slots = schedule.between(self._start, self._end, self._zone)
            inside = [slot.astimezone(UTC) for slot in slots if slot > self._start]
            self._slots_before[schedule] = inside
        return self._slots_before[schedule]

    def _first_slot(self, row: ClassicRow) -> datetime | None:
        """When ``NextRunTime`` comes, if that is still to come."""
        if row.next_run is None:
            return None
        shown = min(row.next_run, self._shown(self._end).replace(tzinfo=None))
        moment = shown.replace(tzinfo=self._zone).astimezone(UTC)
        return moment if moment > self._start else None

    def _kinds(
        self, row: ClassicRow, found: Sequence[Apart], first: datetime | None
    ) -> dict[Apart, str]:
        """The kind of each moment. A cycle whose phase has moved stays apart: that is the kind of the night that moved it."""
        kinds: dict[Apart, str] = {}
        lasting = timedelta(hours=2 * row.count) if row.kind == "cyclichour" else timedelta(0)
        before: Apart | None = None
        for one in found:
            if first is not None and one.at <= first:
                kinds[one] = "next run"
                continue
            if before is not None and one.at - before.at <= lasting:
                kinds[one] = kinds[before]
            else:
                night = change_at(self._nights, one.at)
                if night is None and lasting:
                    night = next((n for n in reversed(self._nights) if n.at <= one.at), None)
                kinds[one] = season(night) if night else "calendar"
            before = one
        return kinds

    def _words(self, kind: str, one: Apart, count: int, first: datetime | None) -> tuple[str, str]:
        at = self._shown(one.at)
        if kind == "next run":
            assert first is not None
            old = f"NextRunTime says {self._shown(first):%a %d %b %Y %H:%M}, off the row's own grid"
            if one.ran:
                return f"{old}: runs then", "does not run then"
            return f"{old}: does not run before", f"runs at {at:%a %d %b %H:%M}"
        more = "; its times stay apart from then on" if count > _A_FEW else ""
        night = change_at(self._nights, one.at)
        because = f": {night}" if night else ""
        if one.ran:
            return f"runs at {at:%H:%M}{because}{more}", "does not run then"
        return f"does not run{because}{more}", f"runs at {at:%H:%M}"

    def _from_start(self, job: ImportedJob) -> Iterator[Difference]:
        """The old runner adds to the wall clock, the new one to time that passes: a night with a clock change is where they part."""
        seen: set[str] = set()
        for night in self._nights:
            if season(night) in seen or night.at <= self._start:
                continue
            seen.add(season(night))
            yield Difference(job, season(night), night.at, *_counted_across(night))

    # --- What other rows do to it -------------------------------------------------------------------------------------

    def _of_the_runner(
        self, job: ImportedJob, schedule: Schedule | None, row: ClassicRow
    ) -> Iterator[Difference]:
        """The first slot of the new schedule at which the old runner hangs because of another job."""
        if not row.active:
            return
        for hang in self._hangs.get(row.runner, ()):
            first = hang.start if row.kind in _FROM_START else None
            if schedule is not None and first is None:
                first = next(iter(schedule.between(hang.start, hang.end, self._zone)), None)
            if hang.job.key == job.key or first is None or first >= hang.end:
                continue
            until = f"{self._shown(hang.end):%d %b %Y %H:%M}"
            old = f"does not run until {until}: its runner hangs when {hang.job.stable_name} has ended"
            yield Difference(job, "hung runner", first, old, "runs")
            return

    def _shown(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self._zone.key))


def _counted_across(night: ClockChange) -> tuple[str, str]:
    if season(night) == "spring":
        return f"counts by the clock, so the run after it comes early: {night}", "counts time"
    return f"stands still in the repeated time: {night}", "goes on through both passes"
