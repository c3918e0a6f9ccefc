"""Readings of a row's schedule, and the starts that support each reading."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from targcc_scheduler.schedules.cron import CronSchedule, convert
from targcc_scheduler.schedules.errors import CronError

from targcc_gen.readers import rows as reader_rows
from targcc_gen.sources.model import Import, ImportedJob
from targcc_gen.sources.past_runs import is_plausible
from targcc_gen.spec import JobSpec

# Starts against the times of a schedule, by the old server's wall clock.

Slots = Callable[[datetime, datetime], Iterator[datetime]]
"""The times that a schedule names from the first moment up to, and not including, the second; wall clock."""

Waited = Callable[[datetime], bool]
"""Whether a start came right after the end of another run of its queue."""

EARLY = timedelta(minutes=1)
_LATEST = timedelta(minutes=15)
_LONGEST_WAIT = timedelta(hours=6)
_MOST = 20_000
_WINDOW = 400


@dataclass(frozen=True, slots=True)
class Match:
    """The match of starts with a schedule.

    Attributes:
        starts: The number of starts.
        explained: The number of starts at a time that the schedule names, or soon after.
        slots: The number of named times between the first and the last start.
        covered: The number of named times with a start.
        strays: Starts at no named time.
    """

    starts: int
    explained: int
    slots: int
    covered: int
    strays: tuple[datetime, ...]

    @property
    def score(self) -> float:
        """A number from 0 to 1: the share of starts explained, times the share of named times with a start."""
        if not self.starts or not self.slots:
            return 0.0
        return self.explained / self.starts * self.covered / self.slots


def cron_slots(*texts: CronSchedule) -> Slots:
    """Return the times of cron expressions; several expressions form a union."""

    def between(low: datetime, high: datetime) -> Iterator[datetime]:
        result: set[datetime] = set()
        for schedule in texts:
            moments = schedule.between(low.replace(tzinfo=UTC), high.replace(tzinfo=UTC), UTC)
            for count, moment in enumerate(moments):
                if count >= _MOST:
                    break
                result.add(moment.replace(tzinfo=None))
        return iter(sorted(result))

    return between


def slots_of(spec: JobSpec) -> Slots | None:
    """Return the times that a job's schedule names; None without times, or if the schedule follows the job's own runs."""
    if spec.cron is not None:
        return cron_slots(CronSchedule.parse(spec.cron))
    if spec.every is not None and spec.anchor is not None and spec.after is None:
        return _interval_slots(spec.anchor.replace(tzinfo=None), spec.every)
    return None


def _interval_slots(anchor: datetime, every: timedelta) -> Slots:
    def between(low: datetime, high: datetime) -> Iterator[datetime]:
        moment = anchor + every * -((anchor - low) // every)
        for _ in range(_MOST):
            if moment >= high:
                return
            if moment >= low:
                yield moment
            moment += every

    return between


def window(starts: Sequence[datetime]) -> list[datetime]:
    """Return the latest starts, in order: recent behavior decides."""
    return sorted(starts)[-_WINDOW:]


def match(starts: Sequence[datetime], slots: Slots, waited: Waited | None = None) -> Match:
    """Match starts, in order, with a schedule.

    Args:
        starts: The starts of the job.
        slots: The times of the schedule.
        waited: Whether a start came late because of another run.
    """
    if not starts:
        return Match(0, 0, 0, 0, ())
    named = list(
        slots(
            starts[0] - (_LONGEST_WAIT if waited else _LATEST),
            starts[-1] + EARLY + timedelta(seconds=1),
        )
    )
    late = tolerance(named)
    hit: set[datetime] = set()
    strays = []
    for start in starts:
        index = bisect_right(named, start + EARLY) - 1
        on_time = index >= 0 and start - named[index] <= late
        in_queue = index >= 0 and named[index] not in hit and waited is not None and waited(start)
        if on_time or in_queue:
            hit.add(named[index])
        else:
            strays.append(start)
    expected = [slot for slot in named if slot >= starts[0] - late or slot in hit]
    if expected and expected[0] not in hit and expected[0] < starts[0]:
        expected = expected[1:]
    return Match(len(starts), len(starts) - len(strays), len(expected), len(hit), tuple(strays))


def tolerance(named: Sequence[datetime]) -> timedelta:
    """Return the greatest delay of a start after its time: a quarter of an hour, or half the shortest gap."""
    gaps = [later - earlier for earlier, later in pairwise(named)]
    return min([_LATEST, *(gap / 2 for gap in gaps[:_WINDOW])])


def missed(slots: Slots, after: datetime, until: datetime) -> int:
    """Count the named times after a moment, up to some thousand."""
    return sum(1 for _ in slots(after + EARLY, until))


# Values of a job's old row.


def kind_of(job: ImportedJob) -> str:
    """Return TARGCC 4's word for the kind of the schedule, in lower case; empty for a row with a cron text."""
    return (reader_rows.text(job.row, "enmjobtype") or "").casefold()


def when_of(job: ImportedJob) -> datetime | None:
    """Return TARGCC 4's ``WhenToRun``: the day and hour for the kind of schedule."""
    return reader_rows.readable(reader_rows.moment, job.row, "whentorun")


def runner_of(job: ImportedJob) -> str:
    """Return the job's runner, in lower case; empty if the table has no runners and one process runs all jobs."""
    return (reader_rows.text(job.row, "lkpjobrunner") or "").casefold()


def last_run_of(job: ImportedJob) -> datetime | None:
    """Return the last run of the job by its row."""
    last = job.old.last_run
    return last if last is not None and is_plausible(last) else None


def known_times(job: ImportedJob) -> list[datetime]:
    """Return the times in the row that lie on its schedule if the row is right.

    TARGCC 4 writes the end of a run into ``LastRunTime``, which lies on no schedule.
    """
    ends = "lastruntime" in job.row.values
    known = [job.old.next_run, None if ends else last_run_of(job)]
    return [name for name in known if name is not None and is_plausible(name)]


# Readings.

_DIALECTS = ("cronos", "vixie", "ncrontab", "quartz")
_FIELDS = 5
_DAY, _WEEKDAY = 2, 4
_SHARE = 0.7
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to read a schedule.

    Attributes:
        words: The meaning.
        slots: The named times.
        crons: The equivalent cron texts; two if no single text suffices. Empty: nothing to change.
    """

    words: str
    slots: Slots
    crons: tuple[str, ...] = ()


def theory(job: ImportedJob) -> Reading | None:
    """Return the reading that the translation chose; None if the job has no times of its own."""
    slots = slots_of(job.spec)
    if slots is None:
        return None
    if job.spec.cron is not None:
        schedule = CronSchedule.parse(job.spec.cron)
        both = "day AND weekday: " if _either_day(job.old.schedule_text, job.spec.cron) else ""
        return Reading(both + schedule.describe(), slots)
    return Reading("the interval from its anchor", slots)


def other_readings(job: ImportedJob, starts: Sequence[datetime]) -> Iterator[Reading]:
    """Yield other readings, the most likely first.

    Args:
        job: The job.
        starts: The starts of the job, in order.
    """
    cron = job.spec.cron
    if cron is None:
        return
    if either := _either_day(job.old.schedule_text, cron):
        yield either
    yield from _weekly(job)
    yield from _dialects(job.old.schedule_text, cron)
    if shifted := _other_clock(cron, starts):
        yield shifted
    if plain := _by_pattern(cron, starts):
        yield plain


def _either_day(text: str, cron: str) -> Reading | None:
    """Return the reading day of month OR weekday, as classic cron reads two restricted fields."""
    fields = cron.split()
    if len(fields) != _FIELDS or text.split() != fields:
        return None
    if any(fields[place].startswith(("*", "?")) for place in (_DAY, _WEEKDAY)):
        return None
    days = _replaced(fields, _WEEKDAY, "*")
    weekdays = _replaced(fields, _DAY, "*")
    try:
        both = CronSchedule.parse(days), CronSchedule.parse(weekdays)
        rest = _complement(fields[_DAY])
        crons = (days, _replaced(fields, _DAY, rest)) if rest else ()
        for part in crons:
            CronSchedule.parse(part)
    except CronError:
        return None
    words = f"day OR weekday: {both[0].describe()}, or {both[1].describe()}"
    return Reading(words, cron_slots(*both), crons)


def _complement(days: str) -> str:
    """Return the days of a month that a field does not name, as a field; empty if there are none or no field can name them."""
    if any(letter.isalpha() for letter in days):
        return ""
    schedule = CronSchedule.parse(f"0 0 {days} 1 *")  # January has all days
    low, high = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2))
    named = {moment.day for moment in schedule.between(low, high, UTC)}
    return ",".join(str(day) for day in range(1, 32) if day not in named)


def _replaced(fields: Sequence[str], place: int, word: str) -> str:
    return " ".join(word if index == place else field for index, field in enumerate(fields))


def _weekly(job: ImportedJob) -> Iterator[Reading]:
    """Yield other readings of TARGCC's Weekly: every day, because the runner drops the weekday, or a single weekday, as meant or repaired."""
    when = when_of(job)
    if when is None or kind_of(job) != "weekly":
        return
    clock = f"{when.minute} {when.hour} * *"
    for text, words in (
        (f"{clock} *", "every day, as the old runner's fault has it"),
        (f"{clock} {_WEEKDAYS[when.weekday()]}", f"on {when:%A}s only, as it was meant"),
    ):
        if CronSchedule.parse(text) != CronSchedule.parse(job.spec.cron or text):
            yield Reading(words, cron_slots(CronSchedule.parse(text)), (text,))


def _dialects(text: str, cron: str) -> Iterator[Reading]:
    """Yield the text as other schedulers read it: weekdays with other numbers, seconds first."""
    ours = CronSchedule.parse(cron)
    seen = {ours}
    for dialect in _DIALECTS:
        try:
            schedule = convert(text, dialect)
        except CronError:
            continue
        if schedule not in seen and schedule.reachable:
            seen.add(schedule)
            yield Reading(
                f"as {dialect} reads it: {schedule.describe()}",
                cron_slots(schedule),
                (schedule.normal,),
            )


def _other_clock(cron: str, starts: Sequence[datetime]) -> Reading | None:
    """Return the same days at another time of day, if most starts share that time."""
    fields = cron.split()
    if len(fields) != _FIELDS or not (fields[0].isdecimal() and fields[1].isdecimal()):
        return None
    clock = _usual_clock(starts)
    if clock is None or clock == (int(fields[1]), int(fields[0])):
        return None
    hour, minute = clock
    text = " ".join([str(minute), str(hour), *fields[2:]])
    schedule = CronSchedule.parse(text)
    return Reading(f"at {hour:02d}:{minute:02d}", cron_slots(schedule), (text,))


def _usual_clock(starts: Sequence[datetime]) -> tuple[int, int] | None:
    clocks = Counter((start.hour, start.minute) for start in starts)
    if not clocks:
        return None
    best = max(clocks, key=lambda reading: (_near(clocks, reading), -reading[0], -reading[1]))
    if _near(clocks, best) < _SHARE * len(starts):
        return None
    return best


def _near(clocks: Counter[tuple[int, int]], clock: tuple[int, int]) -> int:
    """Count the starts at a time of day or within the two minutes after."""
    first = clock[0] * 60 + clock[1]
    return sum(clocks[divmod((first + late) % 1440, 60)] for late in range(3))


def _by_pattern(cron: str, starts: Sequence[datetime]) -> Reading | None:
    """Return every day, or a single weekday, at the time of day of most starts."""
    fields = cron.split()
    clock = _usual_clock(starts)
    if clock is None or len(fields) != _FIELDS:
        return None
    hour, minute = clock
    days = Counter(start.weekday() for start in starts)
    day, count = days.most_common(1)[0]
    weekday = _WEEKDAYS[day] if count >= 0.9 * len(starts) else "*"
    text = f"{minute} {hour} * * {weekday}"
    schedule = CronSchedule.parse(text)
    return Reading(schedule.describe(), cron_slots(schedule), (text,))


def supported(
    own: Reading,
    candidates: Sequence[Reading],
    starts: Sequence[datetime],
    *,
    good: float,
    waited: Waited,
) -> Reading | None:
    """Return the reading that explains the starts clearly better than ``own``; None if no reading does.

    Args:
        own: The reading of the translation.
        candidates: The other readings.
        starts: The starts of the job, in order.
        good: The lowest score of a supported reading.
        waited: Whether a start came late because of another run.
    """
    margin = 0.2
    ours = match(starts, own.slots, waited).score
    scored = [
        (match(starts, reading.slots, waited).score, -index, reading)
        for index, reading in enumerate(candidates)
    ]
    best = max(scored, default=None, key=lambda reading: reading[:2])
    if best is None or best[0] < good or best[0] - ours < margin:
        return None
    return best[2]


# Waiting runs: the old server ran the jobs of a runner one after another.

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall time
_SECOND = timedelta(seconds=1)
_BETWEEN = 120
"""Seconds from the end of a run to the start of the next due run: the runner looks again after each run."""


class RunnerWaits:
    """The ends of runs, by runner.

    Args:
        result: Every job and its past.
    """

    def __init__(self, result: Import) -> None:
        self._ends: dict[str, array[int]] = defaultdict(lambda: array("q"))
        for job in [*result.jobs, *result.inactive]:
            past = result.history.of(job.old.id, job.old.name)
            if past is not None:
                self._ends[runner_of(job)].extend(past.log.ends())
        for runner, ends in self._ends.items():
            self._ends[runner] = array("q", sorted(ends))

    def waited(self, job: ImportedJob) -> Waited:
        """Return a test of whether a start of a job came right after another run of its runner."""
        ends = self._ends[runner_of(job)]

        def late(start: datetime) -> bool:
            second = (start - _EPOCH) // _SECOND
            index = bisect_left(ends, second - _BETWEEN)
            return index < len(ends) and ends[index] <= second

        return late
