"""The wall clock of the old server's machine, the only clock of its runners."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class WallClock:
    """A zone's clock over a period, for many lookups.

    Instants are aware and in UTC; wall times have no zone.

    Args:
        zone: The zone.
        start: The first instant of lookups.
        end: The last instant of lookups.
    """

    def __init__(self, zone: ZoneInfo, start: datetime, end: datetime) -> None:
        self._begins, self._offsets = _segments(zone, start - 3 * _DAY, end + 40 * _DAY)
        self._far = end.replace(tzinfo=None) + 3660 * _DAY

    def shown(self, instant: datetime) -> datetime:
        """Return the wall time at an instant."""
        offset = self._offsets[max(bisect_right(self._begins, instant) - 1, 0)]
        return (instant + offset).replace(tzinfo=None)

    def reached(self, wall: datetime, after: datetime) -> datetime:
        """Return the first instant, not before ``after``, at which the clock shows ``wall`` or later.

        A time in a gap is reached right after the gap. After the clock has gone back, a time of the repeated hour is reached a second
        time, if ``after`` is after the change.
        """
        wall = min(wall, self._far)  # the end of the calendar would overflow
        place = max(bisect_right(self._begins, after) - 1, 0)
        while True:
            begin = max(self._begins[place], after)
            last = place + 1 == len(self._begins)
            instant = max(wall.replace(tzinfo=UTC) - self._offsets[place], begin)
            if last or instant < self._begins[place + 1]:
                return instant
            place += 1


def reached_times(
    walls: Iterable[datetime], zone: ZoneInfo, start: datetime, end: datetime
) -> Iterator[datetime]:
    """Yield the instants in ``[start, end)`` at which a scheduler starts that computes its next wall time and waits until it has passed.

    A wall time in a gap is reached right after the gap. While the clock repeats an hour, the next wall time lies behind that hour.

    Args:
        walls: The wall times from a day before ``start`` to a day after ``end``.
        zone: The zone of the clock.
        start: An aware instant.
        end: An aware instant.
    """
    clock = WallClock(zone, start - _DAY, end + _DAY)
    times = sorted(set(walls))
    now = start - _DAY
    while (place := bisect_right(times, clock.shown(now))) < len(times):
        now = clock.reached(times[place], now)
        if now >= end:
            return
        if now >= start:
            yield now


def since_midnight(clock: time) -> timedelta:
    """Return the hours, minutes and seconds of a time of day."""
    return timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second)


def sunday_of(day: date) -> date:
    """Return the first day of a day's week, which begins on Sunday."""
    return day - timedelta(days=day.isoweekday() % 7)


@lru_cache(maxsize=64)
def _segments(
    zone: ZoneInfo, start: datetime, end: datetime
) -> tuple[list[datetime], list[timedelta]]:
    """Return the instants at which an offset from UTC begins, and the offsets."""
    moment = start.astimezone(UTC).replace(microsecond=0)
    begins, offsets = [moment], [_offset(zone, moment)]
    while moment < end:
        following = moment + _DAY / 4  # no zone has changed its clock twice in a quarter of a day
        offset = _offset(zone, following)
        if offset != offsets[-1]:
            begins.append(_first(zone, offset, moment, following))
            offsets.append(offset)
        moment = following
    return begins, offsets


def _first(zone: ZoneInfo, offset: timedelta, low: datetime, high: datetime) -> datetime:
    """Return the first second in ``(low, high]`` with the offset."""
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if _offset(zone, middle) == offset:
            high = middle
        else:
            low = middle
    return high


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset
