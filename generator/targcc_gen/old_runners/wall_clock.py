"""The wall clock of the old server's machine, the only clock that its runners knew."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class WallClock:
    """A zone's clock over a period, for many questions.

    Instants are aware and in UTC, times of the clock have no zone.

    Args:
        zone: The zone.
        start: The first instant that is asked about.
        end: The last one.
    """

    def __init__(self, zone: ZoneInfo, start: datetime, end: datetime) -> None:
        self._begins, self._offsets = _segments(zone, start - 3 * _DAY, end + 40 * _DAY)
        self._far = end.replace(tzinfo=None) + 3660 * _DAY

    def shown(self, instant: datetime) -> datetime:
        """What the clock shows at an instant."""
        offset = self._offsets[max(bisect_right(self._begins, instant) - 1, 0)]
        return (instant + offset).replace(tzinfo=None)

    def reached(self, wall: datetime, after: datetime) -> datetime:
        """The first instant, not before ``after``, at which the clock shows ``wall`` or later.

        A time in a gap is reached right after it. A time that was reached before the clock went back is reached again only by
        somebody who begins to wait after that.
        """
        wall = min(wall, self._far)  # the calendar's end is no time to compute with
        place = max(bisect_right(self._begins, after) - 1, 0)
        while True:
            begin = max(self._begins[place], after)
            last = place + 1 == len(self._begins)
            instant = max(wall.replace(tzinfo=UTC) - self._offsets[place], begin)
            if last or instant < self._begins[place + 1]:
                return instant
            place += 1


@lru_cache(maxsize=64)
def _segments(
    zone: ZoneInfo, start: datetime, end: datetime
) -> tuple[list[datetime], list[timedelta]]:
    """When each offset from UTC begins, and the offsets."""
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
    """The first second in ``(low, high]`` that has an offset."""
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
