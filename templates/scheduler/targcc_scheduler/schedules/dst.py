"""Describe the effect of a zone's clock changes on a schedule, in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum

from .base import Schedule
from .cron import CronSchedule
from .intervals import EverySchedule
from .words import duration_words
from .zones import parse_zone

_LISTED = 3
"""Maximum number of repeated times that a note lists."""


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A moment at which a zone's clocks are set forward or back.

    Attributes:
        at: The moment, in UTC.
        before: The offset from UTC before the change.
        after: The offset from UTC after the change.
    """

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def size(self) -> timedelta:
        """Length of the skipped (positive) or repeated (negative) wall-clock time."""
        return self.after - self.before

    def __str__(self) -> str:
        old, new = (self.at.astimezone(timezone(offset)) for offset in (self.before, self.after))
        days = (
            (f"{old:%a %d %b} ", f"{new:%a %d %b} ")
            if abs(self.size) >= timedelta(days=1)
            else ("", "")
        )
        verb = "jump" if self.size > timedelta(0) else "go back"
        return (
            f"on {old:%a %d %b %Y} clocks {verb} from {days[0]}{old:%H:%M} to {days[1]}{new:%H:%M}"
        )


class Kind(StrEnum):
    """The effect of a clock change on a schedule's times."""

    MOVED = "moved"  # the clock skips the time: run at the first moment after the gap
    SKIPPED = "skipped"  # the clock skips the time, and the schedule has a time at the end of the gap anyway
    ONCE = "once"  # the clock repeats the time: run at the first pass
    TWICE = "twice"  # the clock repeats the time: run at both passes
    SHIFTED = "shifted"  # the interval is elapsed time, so the wall-clock times move


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of a clock change on a schedule.

    Attributes:
        kind: The kind of effect.
        words: The effect in words, to follow the date of the change.
        touched: The skipped or repeated times of the schedule, on the clock before the change.
    """

    kind: Kind
    words: str
    touched: tuple[datetime, ...]


def clock_changes(zone: tzinfo, start: datetime, end: datetime) -> Iterator[ClockChange]:
    """Yield the clock changes of a zone in ``(start, end]``, earliest first."""
    step = timedelta(hours=6)  # no zone has ever changed its clock twice within six hours
    moment = start.astimezone(UTC)
    before = _offset(moment, zone)
    while moment < end:
        following = min(moment + step, end.astimezone(UTC))
        after = _offset(following, zone)
        if after != before:
            yield ClockChange(_first_with(after, moment, following, zone), before, after)
        moment, before = following, after


def _offset(moment: datetime, zone: tzinfo) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _first_with(offset: timedelta, low: datetime, high: datetime, zone: tzinfo) -> datetime:
    """Return the first second in ``(low, high]`` at which the zone has ``offset``."""
    seconds = [0, round((high - low) / timedelta(seconds=1))]
    start = low.replace(microsecond=0)
    while seconds[1] - seconds[0] > 1:
        middle = sum(seconds) // 2
        has_it = _offset(start + timedelta(seconds=middle), zone) == offset
        seconds[1 if has_it else 0] = middle
    return start + timedelta(seconds=seconds[1])


def notes_on(
    schedule: Schedule,
    zone: tzinfo | str,
    after: datetime,
    within: timedelta = timedelta(days=365),
) -> list[str]:
    """Describe the effect of each clock change in ``(after, after + within]`` on a schedule.

    Args:
        schedule: Any schedule; a schedule without affected times has no notes.
        zone: The zone of the schedule.
        after: The start of the period, with a time zone.
        within: The length of the period.

    Returns:
        Sentences such as "on Sun 28 Mar 2027 clocks jump from 02:00 to 03:00: it runs at 03:00".
    """
    zone = parse_zone(zone) if isinstance(zone, str) else zone
    effects = (
        (change, effect_of(schedule, change, zone))
        for change in clock_changes(zone, after, after + within)
    )
    return [f"{change}: {effect.words}" for change, effect in effects if effect is not None]


def effect_of(schedule: Schedule, change: ClockChange, zone: tzinfo) -> Effect | None:
    """Return the effect of a clock change on a schedule; None without an effect."""
    if isinstance(schedule, EverySchedule) and schedule.interval % timedelta(days=1):
        return _moved(schedule, change)
    touched = _touched(schedule, change)
    if not touched:
        return None
    if change.size > timedelta(0):
        new = change.at.astimezone(zone)
        if isinstance(schedule, CronSchedule) and schedule.matches(new):
            return Effect(Kind.SKIPPED, f"it goes on at {new:%H:%M}", touched)
        return Effect(Kind.MOVED, f"it runs at {new:%H:%M}", touched)
    if isinstance(schedule, CronSchedule) and schedule.interval:
        return Effect(Kind.TWICE, "it runs through both passes of the repeated time", touched)
    times = " and ".join(f"{moment:%H:%M}" for moment in touched)
    few = len(touched) <= _LISTED
    which = f"at the first {times}" if few else "in the first pass of the repeated time"
    return Effect(Kind.ONCE, f"it runs once, {which}", touched)


def _touched(schedule: Schedule, change: ClockChange) -> tuple[datetime, ...]:
    """Return the skipped times, or the times of the first pass, on the clock before the change."""
    unchanged, length = timezone(change.before), abs(change.size)
    start = change.at if change.size > timedelta(0) else change.at - length
    if isinstance(schedule, CronSchedule):  # fast path: most expressions have none of these hours
        first = start.astimezone(unchanged).hour
        hours = range(first, first + length // timedelta(hours=1) + 2)
        if not any(schedule.hour >> hour % 24 & 1 for hour in hours):
            return ()
    return tuple(schedule.between(start, start + length, unchanged))


def _moved(schedule: EverySchedule, change: ClockChange) -> Effect | None:
    """Return the shift of an elapsed-time interval against the wall clock; None without a shift."""
    if not change.size % schedule.interval:
        return None
    later = "later" if change.size > timedelta(0) else "earlier"
    words = f"its times are {duration_words(abs(change.size))} {later} by the clock from then on"
    return Effect(Kind.SHIFTED, words, ())
