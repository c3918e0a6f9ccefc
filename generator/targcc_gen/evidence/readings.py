"""The ways in which a row's schedule can be read, and which of them a history supports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from targcc_scheduler.schedules.cron import CronSchedule, convert
from targcc_scheduler.schedules.errors import CronError

from targcc_gen.evidence.grid import Slots, Waited, cron_slots, match, slots_of
from targcc_gen.evidence.old_rows import kind_of, when_of
from targcc_gen.sources.model import ImportedJob

_DIALECTS = ("cronos", "vixie", "ncrontab", "quartz")
_FIELDS = 5
_DAY, _WEEKDAY = 2, 4
_SHARE = 0.7
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to read a schedule.

    Attributes:
        words: What it means.
        slots: The times it names.
        crons: The cron texts that say it here; two where one cannot. Empty: nothing to change.
    """

    words: str
    slots: Slots
    crons: tuple[str, ...] = ()


def theory(job: ImportedJob) -> Reading | None:
    """The reading that the translation chose; None if the job has no times of its own."""
    slots = slots_of(job.spec)
    if slots is None:
        return None
    if job.spec.cron is not None:
        schedule = CronSchedule.parse(job.spec.cron)
        both = "day AND weekday: " if _either_day(job.old.schedule_text, job.spec.cron) else ""
        return Reading(both + schedule.describe(), slots)
    return Reading("the interval from its anchor", slots)


def others(job: ImportedJob, starts: Sequence[datetime]) -> Iterator[Reading]:
    """Other readings, the likelier ones first.

    Args:
        job: The job.
        starts: When it started, in order.
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
    """Day of month OR weekday, as classic cron reads two restricted fields."""
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
        for one in crons:
            CronSchedule.parse(one)
    except CronError:
        return None
    words = f"day OR weekday: {both[0].describe()}, or {both[1].describe()}"
    return Reading(words, cron_slots(*both), crons)


def _complement(days: str) -> str:
    """The days of a month that a field does not name, as a field; empty if it names all, or cannot be said so."""
    if any(letter.isalpha() for letter in days):
        return ""
    schedule = CronSchedule.parse(f"0 0 {days} 1 *")  # January has all of them
    low, high = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2))
    named = {moment.day for moment in schedule.between(low, high, UTC)}
    return ",".join(str(day) for day in range(1, 32) if day not in named)


def _replaced(fields: Sequence[str], place: int, word: str) -> str:
    return " ".join(word if index == place else one for index, one in enumerate(fields))


def _weekly(job: ImportedJob) -> Iterator[Reading]:
    """TARGCC's Weekly: meant for one weekday; the runner drops the weekday, and a shop may have repaired that."""
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
    """The same text as other schedulers read it: weekdays counted from another day, seconds first."""
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
    """The same days at another time of the day, if most starts share one."""
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
    best = max(clocks, key=lambda one: (_near(clocks, one), -one[0], -one[1]))
    if _near(clocks, best) < _SHARE * len(starts):
        return None
    return best


def _near(clocks: Counter[tuple[int, int]], clock: tuple[int, int]) -> int:
    """How many starts came at a time of the day or within the two minutes after it."""
    first = clock[0] * 60 + clock[1]
    return sum(clocks[divmod((first + late) % 1440, 60)] for late in range(3))


def _by_pattern(cron: str, starts: Sequence[datetime]) -> Reading | None:
    """Every day, or one weekday only, at the time of the day at which most starts came."""
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
    """The reading that explains the starts clearly better than ``own``; None if none does.

    Args:
        own: The reading that was taken.
        candidates: The others.
        starts: When the job started, in order.
        good: The score from which a reading counts as supported.
        waited: Whether a start came late because another run was in its way.
    """
    margin = 0.2
    ours = match(starts, own.slots, waited).score
    scored = [
        (match(starts, one.slots, waited).score, -index, one)
        for index, one in enumerate(candidates)
    ]
    best = max(scored, default=None, key=lambda one: one[:2])
    if best is None or best[0] < good or best[0] - ours < margin:
        return None
    return best[2]
