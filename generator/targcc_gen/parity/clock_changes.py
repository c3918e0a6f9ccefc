"""What a schedule does on the nights when a zone's clocks change, in words for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from targcc_scheduler.schedules import (
    CronSchedule,
    EverySchedule,
    Schedule,
    duration_words,
    parse_zone,
)

_LISTED = 3
"""Lost or repeated times that a note names one by one."""


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A moment at which a zone's clocks are put forward or back.

    Attributes:
        at: The moment, in UTC.
        before: The offset from UTC until then.
        after: The offset from then on.
    """

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def size(self) -> timedelta:
        """How much of the wall clock is left out (positive) or comes again (negative)."""
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


def clock_changes(zone: tzinfo, start: datetime, end: datetime) -> Iterator[ClockChange]:
    """Yield the clock changes of a zone in ``(start, end]``, earliest first."""
    step = timedelta(hours=6)  # no zone has changed its clock twice in a quarter of a day
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
    """Say what a schedule does at each clock change of ``(after, after + within]`` that touches it.

    Args:
        schedule: Any schedule; those the wall clock does not touch have no notes.
        zone: The zone it is evaluated in.
        after: From when, aware.
        within: For how long.

    Returns:
        Sentences such as "on Sun 28 Mar 2027 clocks jump from 02:00 to 03:00: it runs at 03:00".
    """
    zone = parse_zone(zone) if isinstance(zone, str) else zone
    changes = clock_changes(zone, after, after + within)
    return [f"{change}: {words}" for change in changes if (words := _words(schedule, change, zone))]


def _words(schedule: Schedule, change: ClockChange, zone: tzinfo) -> str:
    """Say what a schedule does at one clock change; nothing when that is nothing special."""
    if isinstance(schedule, EverySchedule) and schedule.interval % timedelta(days=1):
        return _moved(schedule, change)
    # As a clock that did not change would show them: the times that are left out, or the first pass.
    unchanged, length = timezone(change.before), abs(change.size)
    start = change.at if change.size > timedelta(0) else change.at - length
    touched = list(schedule.between(start, start + length, unchanged))
    if not touched:
        return ""
    interval = isinstance(schedule, CronSchedule) and schedule.interval
    if change.size > timedelta(0):
        new = change.at.astimezone(zone)
        goes_on = isinstance(schedule, CronSchedule) and schedule.matches(new)
        return f"it {'goes on' if goes_on else 'runs'} at {new:%H:%M}"
    if interval:
        return "it runs through both passes of the repeated time"
    if len(touched) > _LISTED:
        return "it runs once, in the first pass of the repeated time"
    times = " and ".join(f"{moment:%H:%M}" for moment in touched)
    return f"it runs once, at the first {times}"


def _moved(schedule: EverySchedule, change: ClockChange) -> str:
    """Say how an interval of elapsed time moves against the wall clock."""
    if not change.size % schedule.interval:
        return ""
    later = "later" if change.size > timedelta(0) else "earlier"
    return f"its times are {duration_words(abs(change.size))} {later} by the clock from then on"
