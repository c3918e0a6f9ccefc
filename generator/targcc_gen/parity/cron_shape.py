"""Rows of the ``cron`` shape against their new schedules. Where both name the same minutes, only nights with a clock change can differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.dst import ClockChange, clock_changes
from targcc_scheduler.schedules.errors import CronError

from targcc_gen.old_runners.cron_runner import Polling, cron_runs
from targcc_gen.old_runners.cron_text import CronText, read_cron_text
from targcc_gen.parity.difference import DAY, Apart, Difference, apart, by_kind, night_of, season
from targcc_gen.parity.readings import read_as
from targcc_gen.sources.model import ImportedJob, Options


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
    """Where a row and its job part, one difference of each kind.

    Args:
        job: The job.
        options: How the old server read its texts, and the zone it did so in.
        start: From when; aware.
        end: Until when; aware.
        length: How long a run of the job usually takes.
    """
    assert job.spec.cron is not None
    new = CronSchedule.parse(job.spec.cron)
    try:
        old = read_cron_text(job.old.schedule_text, options.dialect)
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
    """Day and weekday both given: classic cron runs on either, Cronos on both. Which of them the old server was is not known for sure."""
    try:
        either = read_as(pair.job.old.schedule_text, "vixie")
    except CronError:  # written for another reader
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
    """The first day that only one of them names, or on which they name other minutes."""
    times = {(h, m) for h in _numbers(pair.new.hour) for m in _numbers(pair.new.minute)}
    day = pair.start.astimezone(pair.options.zone).replace(hour=12)
    while day < pair.end:
        named, mine = pair.old.names(day.date()), pair.new.matches_day(day)
        if named != mine or (named and times != pair.old.times):
            ran = f"runs ({pair.job.old.schedule_text})" if named else "does not run"
            yield Difference(pair.job, "calendar", day, ran, "runs" if mine else "does not run")
            return
        day += DAY


def _numbers(bits: int) -> list[int]:
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def _nights(pair: _Pair) -> list[Difference]:
    zone = pair.options.zone
    nights = list(clock_changes(zone, pair.start, pair.end))
    # A job that is due again before it has ended is so on every day: the history tells of that.
    length = pair.length if pair.length < _closest(pair.old) else timedelta(0)
    found: list[Apart] = []
    for night in nights:
        low, high = max(night.at - DAY, pair.start), min(night.at + DAY, pair.end)
        olds = cron_runs(pair.old, zone, low, high, Polling(pair.options.polling), length=length)
        found += apart(olds, pair.new.between(low, high, zone))

    def kind(one: Apart) -> str:
        return season(_near(nights, one))

    def words(_kind: str, one: Apart, _count: int) -> tuple[str, str]:
        return _at_change(one, pair.new, _near(nights, one), zone)

    return by_kind(found, kind, words, pair.job)


def _closest(text: CronText) -> timedelta:
    """The shortest time between two runs of a day on which the clock does not change."""
    minutes = sorted(hour * 60 + minute for hour, minute in text.times)
    later = [*minutes[1:], minutes[0] + 24 * 60]
    return timedelta(minutes=min(two - one for one, two in zip(minutes, later, strict=True)))


def _near(nights: Sequence[ClockChange], one: Apart) -> ClockChange:
    night = night_of(nights, one.at)
    assert night is not None
    return night


def _at_change(
    one: Apart, new: CronSchedule, night: ClockChange, zone: ZoneInfo
) -> tuple[str, str]:
    clock = f"{one.at.astimezone(zone):%H:%M}"
    if season(night) == "spring":
        if one.ran:
            return f"runs at {clock}, right after the gap: {night}", "does not run then"
        wall = _first_skipped(new, night)
        skipped = f"nothing at {wall:%H:%M}: " if wall else "did not run: "
        return f"{skipped}{night}", f"runs at {clock}, right after the gap"
    if one.ran:
        text = f"ran a second time at {clock}: {night}"
        return text, f"runs once, at the first {clock}"
    return f"did not run: {night}", f"runs at {clock}"


def _first_skipped(schedule: CronSchedule, night: ClockChange) -> datetime | None:
    """The first matching time of the wall clock that a spring night leaves out."""
    skipped = schedule.between(night.at + night.before, night.at + night.after, UTC)
    return next(iter(skipped), None)
