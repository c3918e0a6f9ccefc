"""Which hours of the week are busy, and in which things go wrong; from the counts in c_JobStat."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...storage.tables import job_stat
from ..jobs import BAD

DAYS, HOURS = 7, 24
_COUNTED = (RunState.SUCCEEDED, *sorted(BAD))
_FRESH = timedelta(days=2)
_KEPT_FOR = timedelta(hours=1)
_Counts = Counter[tuple[datetime, bool]]


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the week: how many runs ended well or badly that began in it."""

    weekday: int
    hour: int
    number: int
    bad: int


@dataclass(frozen=True, slots=True)
class Heat:
    """The hours of the week, Monday first, each summed over the weeks from ``since`` up to ``until``."""

    since: datetime
    until: datetime
    hours: tuple[Hour, ...]

    @property
    def most(self) -> int:
        """The number of the fullest hour."""
        return max(one.number for one in self.hours)

    @property
    def total(self) -> int:
        """How many runs there are."""
        return sum(one.number for one in self.hours)

    def day(self, weekday: int) -> tuple[Hour, ...]:
        """The hours of a day of the week; 0 is Monday."""
        return self.hours[weekday * HOURS : (weekday + 1) * HOURS]


class DayCounts:
    """The counts of past days, kept for an hour: a day that is over hardly changes, and a month of all jobs is long to add up."""

    def __init__(self) -> None:
        self._kept: dict[datetime, tuple[datetime, _Counts]] = {}

    async def of(self, connection: AsyncConnection, day: datetime, now: datetime) -> _Counts:
        """The counts of a day of UTC."""
        known = self._kept.get(day)
        if known is not None and now - known[0] < _KEPT_FOR:
            return known[1]
        found = await _counts(connection, day, day + timedelta(days=1))
        if day + _FRESH < now:
            self._kept = {key: one for key, one in self._kept.items() if now - one[0] < _KEPT_FOR}
            self._kept[day] = (now, found)
        return found


async def heat(
    connection: AsyncConnection,
    now: datetime,
    *,
    weeks: int,
    zone: ZoneInfo,
    job: str | None = None,
    kept: DayCounts | None = None,
) -> Heat:
    """The hours of the last whole weeks up to today, by the clock of ``zone``.

    Args:
        connection: To read by.
        now: The instant it is.
        weeks: How many; today is the last day of the last one.
        zone: Whose hours.
        job: Of this job only.
        kept: For who asks again and again.
    """
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    until = today + timedelta(days=1)
    since = until - timedelta(days=weeks * DAYS)  # by the clock of the zone
    if job is not None:
        counts = await _counts(connection, since, until, job)
    else:
        counts = await _by_days(connection, since, until, now, kept or DayCounts())
    return Heat(since, until, _by_clock(counts, zone))


async def _by_days(
    connection: AsyncConnection, since: datetime, until: datetime, now: datetime, kept: DayCounts
) -> _Counts:
    found: _Counts = Counter()
    day = since.astimezone(UTC).replace(hour=0, minute=0)
    while day < until:
        for key, number in (await kept.of(connection, day, now)).items():
            if since <= key[0] < until:
                found[key] += number
        day += timedelta(days=1)
    return found


async def _counts(
    connection: AsyncConnection, since: datetime, until: datetime, job: str | None = None
) -> _Counts:
    """How many runs ended, by quarter of an hour and whether badly."""
    c = job_stat.c
    statement = (
        sa.select(c.BeginsAt, c.Outcome, sa.func.sum(c.Count))
        .where(c.BeginsAt >= since, c.BeginsAt < until, c.Outcome.in_(_COUNTED))
        .group_by(c.BeginsAt, c.Outcome)
    )
    if job is not None:
        statement = statement.where(c.JobName == job)
    found: _Counts = Counter()
    for at, state, number in await connection.execute(statement):
        found[at, state in BAD] += int(number)
    return found


def _by_clock(counts: _Counts, zone: ZoneInfo) -> tuple[Hour, ...]:
    number, bad = [0] * (DAYS * HOURS), [0] * (DAYS * HOURS)
    for (at, is_bad), count in counts.items():
        local = at.astimezone(zone)
        place = local.weekday() * HOURS + local.hour
        number[place] += count
        bad[place] += count if is_bad else 0
    return tuple(
        Hour(place // HOURS, place % HOURS, number[place], bad[place])
        for place in range(DAYS * HOURS)
    )
