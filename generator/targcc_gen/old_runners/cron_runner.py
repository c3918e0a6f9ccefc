"""TaskManager of the ``cron`` shape: it looks once a minute, by the clock of its machine, which rows are due."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from targcc_gen.old_runners.cron_text import CronText
from targcc_gen.old_runners.wall_clock import WallClock

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


class Polling(StrEnum):
    """How a look finds out that a row is due; nobody has written down which it is, so the owner has to say."""

    MINUTE = "minute"
    """The cron text is held against the minute that the clock shows: one that the clock skips does not come, one that comes twice is due
    twice."""
    NEXT_RUN = "next-run"
    """``NextRun`` has passed; then the next one is computed: a time in a gap runs right after it, and none runs again when the clock has
    gone back."""


def cron_runs(
    text: CronText,
    zone: ZoneInfo,
    start: datetime,
    end: datetime,
    polling: Polling,
    *,
    length: timedelta = timedelta(0),
) -> Iterator[datetime]:
    """The instants in ``[start, end)`` at which a row runs.

    Args:
        text: Its cron text.
        zone: The zone of the machine.
        start: An aware instant.
        end: An aware instant.
        polling: How a look finds a row.
        length: How long a run takes: the server looks again after it.
    """
    clock = WallClock(zone, start - _DAY, end + _DAY)
    walls = _walls(text, clock.shown(start).date() - _DAY, clock.shown(end).date() + _DAY)
    if polling is Polling.MINUTE:
        found = _by_minute(walls, zone, length)
    else:
        assert polling is Polling.NEXT_RUN
        found = _by_next_run(list(walls), clock, start - _DAY, length)
    return iter(sorted(moment for moment in found if start <= moment < end))


def _walls(text: CronText, first: date, last: date) -> Iterator[datetime]:
    """The times of the clock that a text names, in order."""
    times = sorted(text.times)
    day = first
    while day <= last:
        if text.names(day):
            for hour, minute in times:
                yield datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001
        day += _DAY


def _by_minute(walls: Iterator[datetime], zone: ZoneInfo, length: timedelta) -> Iterator[datetime]:
    named = {
        moment
        for wall in walls
        for fold in (0, 1)
        if (moment := wall.replace(tzinfo=zone, fold=fold).astimezone(UTC))
        .astimezone(zone)
        .replace(tzinfo=None, fold=0)
        == wall
    }
    free = datetime.min.replace(tzinfo=UTC)
    for moment in sorted(named):
        if moment >= free:
            yield moment
            free = moment + length


def _by_next_run(
    walls: Sequence[datetime], clock: WallClock, begin: datetime, length: timedelta
) -> Iterator[datetime]:
    """Each time once it is reached; those that the clock has passed when a run ends are not run any more."""
    now = begin
    while (place := bisect_right(walls, clock.shown(now))) < len(walls):
        slot = clock.reached(walls[place], now)
        yield slot
        now = slot + length
