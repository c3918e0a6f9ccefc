"""Compare rows of both shapes with their new schedules, run by run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.base import Schedule
from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.dst import ClockChange, clock_changes
from targcc_scheduler.schedules.errors import CronError

from targcc_gen.old_runners.classic import (
    ClassicRow,
    ClassicRunner,
    Run,
    Settings,
    ended,
    is_no_job,
    read_classic,
    why_never_computed,
)
from targcc_gen.old_runners.cron import CronText, Polling, cron_runs, read_cron_text
from targcc_gen.parity.readings import read_as
from targcc_gen.sources.model import ImportedJob, Options, Rejection
from targcc_gen.sources.past_runs import RunLog

# A difference between the old runner and the new schedule.

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between the old and the new schedule.

    Attributes:
        job: The job.
        kind: ``next run``, ``spring``, ``autumn``, ``month end``, ``hung runner``, ``day and weekday``, ``seconds`` or ``calendar``.
        at: The first moment of this kind.
        old: The old runner's behavior, in words.
        new: The new scheduler's behavior, in words.
        count: The number of moments of this kind in the compared period, as far as counted.
    """

    job: ImportedJob
    kind: str
    at: datetime
    old: str
    new: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class OneSided:
    """A run of a single side; ``ran``: the old runner ran, not the new schedule."""

    at: datetime
    ran: bool


def one_sided(olds: Iterable[datetime], news: Iterable[datetime]) -> list[OneSided]:
    """Return the runs of the old or the new side alone, in order."""
    old, new = set(olds), set(news)
    return [OneSided(moment, moment in old) for moment in sorted(old ^ new)]


def by_kind(
    differing: Iterable[OneSided],
    kind_of: Callable[[OneSided], str],
    words: Callable[[str, OneSided, int], tuple[str, str]],
    job: ImportedJob,
) -> list[Difference]:
    """Return one difference of each kind, with the first moment of the kind.

    Args:
        differing: The moments, in order.
        kind_of: Returns the kind of a moment.
        words: Returns texts for old and new from a kind, its first moment and the number of its moments.
        job: The job.
    """
    kinds: dict[str, list[OneSided]] = {}
    for moment in differing:
        kinds.setdefault(kind_of(moment), []).append(moment)
    return [
        Difference(job, kind, moments[0].at, *words(kind, moments[0], len(moments)), len(moments))
        for kind, moments in kinds.items()
    ]


def season(night: ClockChange) -> str:
    """Return ``spring`` for clocks that are put forward, else ``autumn``."""
    return "spring" if night.size > timedelta(0) else "autumn"


def night_of(nights: Sequence[ClockChange], moment: datetime) -> ClockChange | None:
    """Return the clock change within a day of a moment."""
    return next((night for night in nights if abs(moment - night.at) <= DAY), None)


def change_at(nights: Sequence[ClockChange], moment: datetime) -> ClockChange | None:
    """Return the clock change that affects a moment: the moment is the end of a gap, or in a repeated hour."""
    return next(
        (n for n in nights if n.at - abs(n.size) <= moment < n.at + abs(n.size)),
        None,
    )


# Rows of TARGCC 4, each simulated by the rules of its runner.

_FROM_START = frozenset({"cyclicmin", "cyclicsec"})
_OF_A_MONTH = frozenset({"monthly", "annually"})
"""Kinds without a next time in a month that lacks their day."""
_A_FEW = 4
_HOURS_OF_A_DAY = 24
_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True)
class Hang:
    """A period in which a runner does nothing, because the end of a job cannot be stored.

    Attributes:
        name: The job.
        key: The job's key; empty for a row that became no job.
        start: The due time of storing the job's end.
        end: The time of storing the job's end, or the end of the comparison.
        why: The reason that the end can be stored in no month; empty if another month allows it.
    """

    name: str
    key: str
    start: datetime
    end: datetime
    why: str = ""


class ClassicParity:
    """The comparison for all rows of an import.

    Args:
        jobs: The jobs, each with its new schedule.
        options: The old server's zone, and the reading of Weekly.
        start: The beginning of the period; aware.
        end: The end of the period; aware.
        logs: Past runs by the jobs' keys; a simulated run takes its job's usual duration.
        refused: Rows that became no job but that the old runner took.
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
            (item.name, read_classic(item.row)) for item in refused if item.row is not None
        ]
        self._lasts = self._last_starts(logs)
        self._hangs = self._hangs_by_runner()

    def differences(self) -> Iterator[Difference]:
        """Yield the differences of rows and jobs, one of each kind for each job."""
        for job, schedule, row in self._jobs:
            if not row.managed:
                continue
            yield from self._own(job, schedule, row)
            yield from self._of_the_runner(job, schedule, row)

    def _length(self, job: ImportedJob) -> timedelta:
        """Return the usual duration of a job's runs; zero if the history has none."""
        return self._lengths.get(job.key, _NOTHING)

    def _simulated(self, row: ClassicRow, length: timedelta = _NOTHING) -> list[Run]:
        """Return the runs of a row without delays; simulate an inactive row as active."""
        if not row.managed or (row.kind in _FROM_START and not why_never_computed(row)):
            return []
        alone = replace(row, code="", runner="", active=True)
        if (alone, length) not in self._simulated_before:  # many rows share the same time
            settings = replace(self._settings, durations={"": length})
            runner = ClassicRunner([alone], self._zone, settings)
            runs = list(runner.runs(self._start, self._end))
            self._simulated_before[alone, length] = runs
        return self._simulated_before[alone, length]

    def _last_starts(self, logs: Mapping[str, RunLog]) -> Mapping[str, datetime]:
        """Return the last known start of each runner, by its wall clock."""
        lasts: dict[str, datetime] = {}
        for job, _, row in self._jobs:
            log = logs.get(job.key)
            if log is not None and (last := log.latest()) is not None:
                lasts[row.runner] = max(last, lasts.get(row.runner, last))
        return lasts

    def _hangs_by_runner(self) -> Mapping[str, list[Hang]]:
        result: dict[str, list[Hang]] = {}
        for job, _, row in self._jobs:
            for run in self._runs[job.key] if row.active else ():
                if run.hung is not None:
                    hang = Hang(job.stable_name, job.key, run.hung, run.end)
                    result.setdefault(row.runner, []).append(hang)
        for name, row in self._refused:
            holding = self._hang_of(name, row) if row.runs and not is_no_job(row) else None
            if holding is not None:
                result.setdefault(row.runner, []).append(holding)
        return result

    def _hang_of(self, name: str, row: ClassicRow) -> Hang | None:
        """Return the first hang of a runner by a row that became no job."""
        why = why_never_computed(row)
        if why and row.next_run is not None:
            if self._lasts.get(row.runner, row.next_run) > row.next_run:
                return (
                    None  # other jobs ran after the row's time, so the row did not hold the runner
                )
            start = self._first_slot(row) or self._start
            return Hang(name, "", start, self._end, why) if start < self._end else None
        if row.kind not in _OF_A_MONTH:
            return None
        hung = next((run for run in self._simulated(row) if run.hung is not None), None)
        return Hang(name, "", hung.hung, hung.end) if hung and hung.hung else None

    # A row by itself.

    def _own(
        self, job: ImportedJob, schedule: Schedule | None, row: ClassicRow
    ) -> Iterator[Difference]:
        if row.kind in _FROM_START:
            yield from self._from_start(job)
            return
        runs = self._runs[job.key]
        inside = (run.slot for run in runs if run.slot > self._start)
        moments = one_sided(inside, self._new_slots(schedule))
        first = self._first_slot(row)

        kinds = self._kinds(row, moments, first)
        length = self._length(job)
        at_once = {run.slot for run in self._simulated(row)} if length else set()

        def words(kind: str, moment: OneSided, count: int) -> tuple[str, str]:
            old, new = self._words(kind, moment, count, first)
            because = f"; a run usually takes {_shown_length(length)}"
            return (old + because if length and (moment.at in at_once) != moment.ran else old), new

        yield from by_kind(moments, kinds.__getitem__, words, job)
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
        """Return the instant of ``NextRunTime`` if it lies in the future."""
        if row.next_run is None:
            return None
        shown = min(row.next_run, self._shown(self._end).replace(tzinfo=None))
        moment = shown.replace(tzinfo=self._zone).astimezone(UTC)
        return moment if moment > self._start else None

    def _kinds(
        self, row: ClassicRow, moments: Sequence[OneSided], first: datetime | None
    ) -> dict[OneSided, str]:
        """Return the kind of each moment. A cycle with a shifted phase keeps the kind of the night that shifted it."""
        kinds: dict[OneSided, str] = {}
        lasting = timedelta(hours=2 * row.count) if row.kind == "cyclichour" else timedelta(0)
        before: OneSided | None = None
        for moment in moments:
            if first is not None and moment.at <= first:
                kinds[moment] = "next run"
                continue
            if before is not None and moment.at - before.at <= lasting:
                kinds[moment] = kinds[before]
            else:
                night = change_at(self._nights, moment.at)
                if night is None and lasting:
                    night = next((n for n in reversed(self._nights) if n.at <= moment.at), None)
                kinds[moment] = season(night) if night else "calendar"
            before = moment
        return kinds

    def _words(
        self, kind: str, moment: OneSided, count: int, first: datetime | None
    ) -> tuple[str, str]:
        at = self._shown(moment.at)
        if kind == "next run":
            assert first is not None
            old = f"NextRunTime says {self._shown(first):%a %d %b %Y %H:%M}, off the row's own grid"
            if moment.ran:
                return f"{old}: runs then", "does not run then"
            return f"{old}: does not run before", f"runs at {at:%a %d %b %H:%M}"
        more = "; its times stay apart from then on" if count > _A_FEW else ""
        night = change_at(self._nights, moment.at)
        because = f": {night}" if night else ""
        if moment.ran:
            return f"runs at {at:%H:%M}{because}{more}", "does not run then"
        return f"does not run{because}{more}", f"runs at {at:%H:%M}"

    def _from_start(self, job: ImportedJob) -> Iterator[Difference]:
        """Yield the first clock change of each season. The old runner adds to the wall clock, the new scheduler adds to elapsed time."""
        seen: set[str] = set()
        for night in self._nights:
            if season(night) in seen or night.at <= self._start:
                continue
            seen.add(season(night))
            yield Difference(job, season(night), night.at, *_counted_across(night))

    # Effects of other rows on the row.

    def _of_the_runner(
        self, job: ImportedJob, schedule: Schedule | None, row: ClassicRow
    ) -> Iterator[Difference]:
        """Yield the first slot of the new schedule at which the old runner hangs because of another job."""
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
                old += self._moved(schedule, row, hang)
            yield Difference(job, "hung runner", first, old, "runs")
            return
        yield from self._never_scanned(job, schedule, row)

    def _moved(self, schedule: Schedule | None, row: ClassicRow, hang: Hang) -> str:
        """Return the new times of a cycle, which counts from its first run after the hang; empty if its times stay."""
        following = self._first_slot_in(schedule, row, hang.end, self._end)
        if row.kind not in {"cyclichour", "cyclicday"} or following is None:
            return ""
        awake = self._shown(hang.end).replace(tzinfo=None)
        due = ended(replace(row, next_run=awake), awake, awake).next_run
        if due is None or due == self._shown(following).replace(tzinfo=None):
            return ""
        if row.kind == "cyclicday":
            return f", and from then on every {row.count} days from {due:%a %d %b} at {due:%H:%M}"
        if _HOURS_OF_A_DAY % row.count:
            return f", and from then on every {row.count} hours from {due:%H:%M}"
        hours = sorted(
            (due.hour + step) % _HOURS_OF_A_DAY for step in range(0, _HOURS_OF_A_DAY, row.count)
        )
        return f", and from then on at {', '.join(f'{hour:02}:{due:%M}' for hour in hours)}"

    def _never_scanned(
        self, job: ImportedJob, schedule: Schedule | None, row: ClassicRow
    ) -> Iterator[Difference]:
        """Yield the difference of a row with an empty ``NextRunTime``, if another row aborts each scan that would fill it."""
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
        """Return the first time in a period at which the new schedule runs the job."""
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


# Rows of the ``cron`` shape. If both sides name the same minutes, only nights with a clock change can differ.


@dataclass(frozen=True, slots=True)
class _Pair:
    """A row's text and its job's schedule, over a period."""

    job: ImportedJob
    old: CronText
    new: CronSchedule
    options: Options
    start: datetime
    end: datetime
    length: timedelta


def cron_differences(
    job: ImportedJob,
    options: Options,
    start: datetime,
    end: datetime,
    length: timedelta = timedelta(0),
) -> list[Difference]:
    """Return the differences of a row and its job, one of each kind.

    Args:
        job: The job.
        options: The old server's cron dialect, polling and zone.
        start: The beginning of the period; aware.
        end: The end of the period; aware.
        length: The usual duration of the job's runs.
    """
    assert job.spec.cron is not None
    new = CronSchedule.parse(job.spec.cron)
    text, dialect = job.old.schedule_text, options.dialect
    if job.theory is not None and job.theory.cron != job.spec.cron:
        text, dialect = (
            job.spec.cron,
            "cronos",
        )  # as its history shows, the old server read the row so
    try:
        old = read_cron_text(text, dialect)
    except ValueError:
        words = "not compared: the text cannot be read in a second way"
        return [Difference(job, "calendar", start, words, new.describe())]
    pair = _Pair(job, old, new, options, start, end, length)
    if old.has_seconds:
        return _seconds(pair)
    return [*_either_day(pair), *_days(pair), *_nights(pair)]


def _seconds(pair: _Pair) -> list[Difference]:
    first = pair.new.next(pair.start, pair.options.zone)
    assert first is not None
    text = "once in that minute, as the old server looked once a minute"
    return [Difference(pair.job, "seconds", first, text, "at the second it names")]


def _either_day(pair: _Pair) -> Iterator[Difference]:
    """Yield the first run by day OR weekday, if the text gives both: classic cron runs on either, Cronos on both.

    The old server's rule is not known for sure.
    """
    try:
        either = read_as(pair.job.old.schedule_text, "vixie")
    except CronError:  # written for another dialect
        return
    if len(either.schedules) == 1:
        return
    low = pair.start
    while low < pair.end:
        high = min(low + DAY, pair.end)
        for moment in sorted(either.between(low, high, pair.options.zone)):
            if not pair.new.matches(moment):
                old = "runs, if the old server read day OR weekday, as classic cron does"
                none = "does not run: day AND weekday must match"
                yield Difference(pair.job, "day and weekday", moment, old, none)
                return
        low = high


def _days(pair: _Pair) -> Iterator[Difference]:
    """Yield the first day that only one side names, or with different minutes."""
    times = {(h, m) for h in _numbers(pair.new.hour) for m in _numbers(pair.new.minute)}
    day = pair.start.astimezone(pair.options.zone).replace(hour=12)
    while day < pair.end:
        named, is_ours = pair.old.names(day.date()), pair.new.matches_day(day)
        if named != is_ours or (named and times != pair.old.times):
            ran = f"runs ({pair.job.old.schedule_text})" if named else "does not run"
            yield Difference(pair.job, "calendar", day, ran, "runs" if is_ours else "does not run")
            return
        day += DAY


def _numbers(bits: int) -> list[int]:
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def _nights(pair: _Pair) -> list[Difference]:
    zone = pair.options.zone
    nights = list(clock_changes(zone, pair.start, pair.end))
    # A job that is due again before its end is so on every day; the history shows such a job.
    length = pair.length if pair.length < _closest(pair.old) else timedelta(0)
    result: list[OneSided] = []
    for night in nights:
        low, high = max(night.at - DAY, pair.start), min(night.at + DAY, pair.end)
        olds = cron_runs(pair.old, zone, low, high, Polling(pair.options.polling), length=length)
        result += one_sided(olds, pair.new.between(low, high, zone))

    def kind(moment: OneSided) -> str:
        return season(_near(nights, moment))

    def words(_kind: str, moment: OneSided, _count: int) -> tuple[str, str]:
        return _at_change(moment, pair.new, _near(nights, moment), zone)

    return by_kind(result, kind, words, pair.job)


def _closest(text: CronText) -> timedelta:
    """Return the shortest time between two runs on a day without a clock change."""
    minutes = sorted(hour * 60 + minute for hour, minute in text.times)
    later = [*minutes[1:], minutes[0] + 24 * 60]
    return timedelta(
        minutes=min(two - earlier for earlier, two in zip(minutes, later, strict=True))
    )


def _near(nights: Sequence[ClockChange], moment: OneSided) -> ClockChange:
    night = night_of(nights, moment.at)
    assert night is not None
    return night


def _at_change(
    moment: OneSided, new: CronSchedule, night: ClockChange, zone: ZoneInfo
) -> tuple[str, str]:
    clock = f"{moment.at.astimezone(zone):%H:%M}"
    if season(night) == "spring":
        if moment.ran:
            return f"runs at {clock}, right after the gap: {night}", "does not run then"
        wall = _first_skipped(new, night)
        skipped = f"nothing at {wall:%H:%M}: " if wall else "did not run: "
        return f"{skipped}{night}", f"runs at {clock}, right after the gap"
    if moment.ran:
        text = f"ran a second time at {clock}: {night}"
        return text, f"runs once, at the first {clock}"
    return f"did not run: {night}", f"runs at {clock}"


def _first_skipped(schedule: CronSchedule, night: ClockChange) -> datetime | None:
    """Return the first matching wall time in the gap of a spring night."""
    skipped = schedule.between(night.at + night.before, night.at + night.after, UTC)
    return next(iter(skipped), None)
