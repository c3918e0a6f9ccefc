"""Rows of TARGCC 4 against their new schedules: each row is simulated by the rules of its runner, and slots are compared one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.base import Schedule
from targcc_scheduler.schedules.dst import ClockChange, clock_changes

from targcc_gen.old_runners.classic_row import ClassicRow, read_classic, why_never_computed
from targcc_gen.old_runners.classic_runner import ClassicRunner, Run, Settings, is_no_job
from targcc_gen.parity.difference import Apart, Difference, apart, by_kind, change_at, season
from targcc_gen.sources.model import ImportedJob, Options, Rejection
from targcc_gen.sources.past import RunLog

_FROM_START = frozenset({"cyclicmin", "cyclicsec"})
_OF_A_MONTH = frozenset({"monthly", "annually"})
"""Kinds whose next time cannot be computed in a month that lacks their day."""
_A_FEW = 4
_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True)
class Hang:
    """A time in which a runner does nothing, since the end of a job cannot be stored.

    Attributes:
        name: The job.
        key: Its key here; empty for a row that became no job.
        start: When its end was due to be stored.
        end: When it could be stored, or the end of the comparison.
        why: Why it can be stored in no month; empty where it can in another one.
    """

    name: str
    key: str
    start: datetime
    end: datetime
    why: str = ""


class ClassicParity:
    """The comparison for all rows of an import.

    Args:
        jobs: The jobs, each with the schedule it has now.
        options: The old server's zone, and how its copy of the runner reads Weekly.
        start: From when; aware.
        end: Until when; aware.
        logs: What is known of past runs, by the jobs' keys: a run is simulated with its usual length.
        refused: Rows that became no job, and that the old runner took all the same.
    """

    def __init__(
        self,
        jobs: Sequence[tuple[ImportedJob, Schedule | None]],
        options: Options,
        start: datetime,
        end: datetime,
        *,
        logs: Mapping[str, RunLog] = MappingProxyType({}),
        refused: Sequence[Rejection] = (),
    ) -> None:
        self._zone = options.zone
        self._start, self._end = start, end
        self._nights = list(clock_changes(options.zone, start - timedelta(days=1), end))
        self._settings = Settings(repaired_weekly=options.weekly == "repaired")
        self._simulated_before: dict[tuple[ClassicRow, timedelta], list[Run]] = {}
        self._slots_before: dict[Schedule, list[datetime]] = {}
        self._jobs = [(job, schedule, read_classic(job.row)) for job, schedule in jobs]
        self._lengths = {key: log.usual() or _NOTHING for key, log in logs.items()}
        self._runs = {
            job.key: self._simulated(row, self._length(job)) for job, _, row in self._jobs
        }
        self._refused = [
            (one.name, read_classic(one.row)) for one in refused if one.row is not None
        ]
        self._lasts = self._last_starts(logs)
        self._hangs = self._hangs_by_runner()

    def differences(self) -> Iterator[Difference]:
        """Where rows and jobs part, one difference of each kind for each job."""
        for job, schedule, row in self._jobs:
            if not row.managed:
                continue
            yield from self._own(job, schedule, row)
            yield from self._of_the_runner(job, schedule, row)

    def _length(self, job: ImportedJob) -> timedelta:
        """How long a run of a job usually takes; nothing where the history does not say."""
        return self._lengths.get(job.key, _NOTHING)

    def _simulated(self, row: ClassicRow, length: timedelta = _NOTHING) -> list[Run]:
        """The runs of a row that nothing delays; one that is switched off is taken as switched on."""
        if not row.managed or (row.kind in _FROM_START and not why_never_computed(row)):
            return []
        alone = replace(row, code="", runner="", active=True)
        if (alone, length) not in self._simulated_before:  # rows of one time are many
            settings = replace(self._settings, durations={"": length})
            runner = ClassicRunner([alone], self._zone, settings)
            runs = list(runner.runs(self._start, self._end))
            self._simulated_before[alone, length] = runs
        return self._simulated_before[alone, length]

    def _last_starts(self, logs: Mapping[str, RunLog]) -> Mapping[str, datetime]:
        """When each runner was last seen to begin a run, by the clock on its wall."""
        lasts: dict[str, datetime] = {}
        for job, _, row in self._jobs:
            log = logs.get(job.key)
            if log is not None and (last := log.latest()) is not None:
                lasts[row.runner] = max(last, lasts.get(row.runner, last))
        return lasts

    def _hangs_by_runner(self) -> Mapping[str, list[Hang]]:
        found: dict[str, list[Hang]] = {}
        for job, _, row in self._jobs:
            for run in self._runs[job.key] if row.active else ():
                if run.hung is not None:
                    hang = Hang(job.stable_name, job.key, run.hung, run.end)
                    found.setdefault(row.runner, []).append(hang)
        for name, row in self._refused:
            holding = self._hang_of(name, row) if row.runs and not is_no_job(row) else None
            if holding is not None:
                found.setdefault(row.runner, []).append(holding)
        return found

    def _hang_of(self, name: str, row: ClassicRow) -> Hang | None:
        """The first time that a row which became no job holds its runner."""
        why = why_never_computed(row)
        if why and row.next_run is not None:
            if self._lasts.get(row.runner, row.next_run) > row.next_run:
                return None  # others ran after its time, so it did not hold them
            start = self._first_slot(row) or self._start
            return Hang(name, "", start, self._end, why) if start < self._end else None
        if row.kind not in _OF_A_MONTH:
            return None
        hung = next((run for run in self._simulated(row) if run.hung is not None), None)
        return Hang(name, "", hung.hung, hung.end) if hung and hung.hung else None

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
        length = self._length(job)
        at_once = {run.slot for run in self._simulated(row)} if length else set()

        def words(kind: str, one: Apart, count: int) -> tuple[str, str]:
            old, new = self._words(kind, one, count, first)
            because = f"; a run usually takes {_shown_length(length)}"
            return (old + because if length and (one.at in at_once) != one.ran else old), new

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
            first = self._first_slot_in(schedule, row, hang.start, hang.end)
            if hang.key == job.key or first is None or first >= hang.end:
                continue
            if hang.why:
                old = f"does not run any more: its runner hangs for good when {hang.name} has run, as {hang.why}"
            else:
                until = f"{self._shown(hang.end):%d %b %Y %H:%M}"
                old = f"does not run until {until}: its runner hangs when {hang.name} has ended"
            yield Difference(job, "hung runner", first, old, "runs")
            return
        yield from self._never_scanned(job, schedule, row)

    def _never_scanned(
        self, job: ImportedJob, schedule: Schedule | None, row: ClassicRow
    ) -> Iterator[Difference]:
        """A row that waits for the scan to fill its ``NextRunTime``, where another row ends the scan each time."""
        waits = "nextruntime" in job.row.values and row.next_run is None
        for name, refused in self._refused if waits else ():
            why = why_never_computed(refused)
            if not (why and refused.runs and refused.runner == row.runner) or is_no_job(refused):
                continue
            first = self._first_slot_in(schedule, row, self._start, self._end)
            if refused.next_run is None and first is not None:
                old = f"may not run: NextRunTime is NULL, and the scan that fills it ends at {name} each time, as {why}"
                yield Difference(job, "hung runner", first, old, "runs")
                return

    def _first_slot_in(
        self, schedule: Schedule | None, row: ClassicRow, start: datetime, end: datetime
    ) -> datetime | None:
        """The first time in a period at which a job would run here."""
        if row.kind in _FROM_START:
            return start
        if schedule is None:
            return None
        return next(iter(schedule.between(start, end, self._zone)), None)

    def _shown(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self._zone.key))


def _shown_length(length: timedelta) -> str:
    minutes, seconds = divmod(round(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def _counted_across(night: ClockChange) -> tuple[str, str]:
    if season(night) == "spring":
        return f"counts by the clock, so the run after it comes early: {night}", "counts time"
    return f"stands still in the repeated time: {night}", "goes on through both passes"
