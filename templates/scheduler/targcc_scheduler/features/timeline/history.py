"""Heat map by hour of the week, and daily trends for a job."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.numbers import MOST_TREND_DAYS, drift
from ...core.states import RunState
from ...db.tables import job_stat, logged_job
from ...kernel.queries.jobs import BAD
from ...kernel.queries.statistics import day_number, percentile
from ...kernel.runs.values import NO_DURATION, QUARTER, duration_of

# Heat map: all runs and bad runs for each hour of the week, from the counts in c_JobStat.

DAYS, HOURS = 7, 24
_COUNTED = (RunState.SUCCEEDED, *sorted(BAD))
_FRESH = timedelta(days=2)
_KEPT_FOR = timedelta(hours=1)
_Counts = Counter[tuple[datetime, bool]]


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the week: number of runs that started in it and ended well or badly."""

    weekday: int
    hour: int
    number: int
    bad: int


@dataclass(frozen=True, slots=True)
class Heat:
    """Run counts by hour of the week, Monday first, summed over the weeks from ``since`` up to ``until``."""

    since: datetime
    until: datetime
    hours: tuple[Hour, ...]

    @property
    def most(self) -> int:
        """Number of runs in the fullest hour."""
        return max(hour.number for hour in self.hours)

    @property
    def total(self) -> int:
        """Total number of runs."""
        return sum(hour.number for hour in self.hours)

    def day(self, weekday: int) -> tuple[Hour, ...]:
        """Return the hours of a weekday; 0 is Monday."""
        return self.hours[weekday * HOURS : (weekday + 1) * HOURS]


class DayCounts:
    """Cache past days' counts for an hour. Past days hardly change, and summing a month for all jobs takes long."""

    def __init__(self) -> None:
        self._kept: dict[datetime, tuple[datetime, _Counts]] = {}

    async def of(
        self, connection: AsyncConnection, days: Sequence[datetime], now: datetime
    ) -> dict[datetime, _Counts]:
        """Return the counts of consecutive UTC days."""
        self._kept = {key: value for key, value in self._kept.items() if now - value[0] < _KEPT_FOR}
        counts = {day: self._kept[day][1] for day in days if day in self._kept}
        if missing := [day for day in days if day not in counts]:
            begins, ends = missing[0], missing[-1] + timedelta(days=1)
            read: dict[datetime, _Counts] = {day: Counter() for day in days if begins <= day < ends}
            for (at, bad), number in (await _counts(connection, begins, ends)).items():
                read[at.replace(hour=0, minute=0)][at, bad] = number
            self._kept |= {day: (now, value) for day, value in read.items() if day + _FRESH < now}
            counts |= read
        return counts


def day_counts(_web: object) -> DayCounts:
    """Return a new cache, which the requests of an app share."""
    return DayCounts()


async def heat(
    connection: AsyncConnection,
    now: datetime,
    *,
    weeks: int,
    zone: ZoneInfo,
    job: str | None = None,
    kept: DayCounts | None = None,
) -> Heat:
    """Return the heat map of the last whole weeks up to today, by the clock of ``zone``.

    Args:
        connection: A connection to read with.
        now: The current instant.
        weeks: Number of weeks; today is the last day of the last week.
        zone: Time zone of the hours.
        job: Count only this job.
        kept: A cache for callers that ask repeatedly.
    """
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    until = today + timedelta(days=1)
    since = until - timedelta(days=weeks * DAYS)  # calendar days of the zone
    if job is not None:
        counts = await _counts(connection, since, until, job)
    else:
        counts = await _by_days(connection, since, until, now, kept or DayCounts())
    return Heat(since, until, _by_clock(counts, zone))


async def _by_days(
    connection: AsyncConnection, since: datetime, until: datetime, now: datetime, kept: DayCounts
) -> _Counts:
    first = since.astimezone(UTC).replace(hour=0, minute=0)
    number_of_days = -(-(until - first) // timedelta(days=1))
    days = [first + timedelta(days=n) for n in range(number_of_days)]
    range_counts: _Counts = Counter()
    for counts in (await kept.of(connection, days, now)).values():
        for key, number in counts.items():
            if since <= key[0] < until:
                range_counts[key] = number
    return range_counts


async def _counts(
    connection: AsyncConnection, since: datetime, until: datetime, job: str | None = None
) -> _Counts:
    """Count the ended runs by quarter of an hour and by good or bad outcome."""
    c = job_stat.c
    bad = c.Outcome.in_(sorted(BAD)).label("Bad")
    statement = (
        sa.select(c.BeginsAt, bad, sa.func.sum(c.Count))
        .where(c.BeginsAt >= since, c.BeginsAt < until, c.Outcome.in_(_COUNTED))
        .group_by(c.BeginsAt, bad)
    )
    if job is not None:
        statement = statement.where(c.JobName == job)
    rows = await connection.execute(statement)
    return Counter({(at, bool(is_bad)): int(number) for at, is_bad, number in rows})


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


# Daily trends of a job: durations and outcomes from the counts in c_JobStat, lateness from the newest attempts.

_MOST_STARTS = 2_000
_MOST_OUTLIERS = 8
_OUTLIER = 3
"""Factor of the median above which a duration is an outlier."""
_DECIDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.MISSED)
_WEEK = 7
_ENOUGH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendDay:
    """Figures of one day of the job's time zone.

    ``success_rate`` covers succeeded, failed and missed runs. Durations cover succeeded runs, with percentiles at most 5 % off. ``late_p50_ms`` and
    ``late_most_ms`` measure the time from a run's slot to its first attempt; ``None`` without such an attempt.
    """

    day: date
    succeeded: int
    failed: int
    missed: int
    success_rate: float | None
    p50_ms: int | None
    p95_ms: int | None
    longest_ms: int | None
    late_p50_ms: int | None
    late_most_ms: int | None


@dataclass(frozen=True, slots=True)
class Outlier:
    """An attempt that took far longer than usual. ``run`` is ``None`` for an imported attempt."""

    run: int | None
    started_at: datetime
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Figures of a job by day, oldest day first.

    Args:
        outliers: Longest attempts above three times the median, newest first.
        before_ms: Median duration up to a week ago; ``None`` with too few runs then or since.
        lately_ms: Median duration of the last week.
        late_since: Start of the lateness figures, which cover the newest 2,000 attempts.
    """

    job: str
    days: tuple[TrendDay, ...]
    outliers: tuple[Outlier, ...]
    before_ms: int | None
    lately_ms: int | None
    late_since: datetime | None

    @property
    def drift(self) -> float | None:
        """Ratio of the recent median to the earlier median; ``None`` if the ratio is insignificant."""
        return drift(self.before_ms, self.lately_ms)


async def trend(
    connection: AsyncConnection, job: str, now: datetime, *, days: int, zone: ZoneInfo
) -> Trend:
    """Return the trend of ``job`` over the last ``days`` days of ``zone`` including today, at most :data:`MOST_TREND_DAYS`."""
    spans = list(_spans(now, min(days, MOST_TREND_DAYS), zone))
    counts = await _daily_counts(connection, job, spans)
    starts = await _starts(connection, job, spans[0][1])
    lateness: dict[date, list[int]] = defaultdict(list)
    for started, slot in starts:
        late = max(started - slot, timedelta(0)) // timedelta(milliseconds=1)
        lateness[started.astimezone(zone).date()].append(late)
    week = len(spans) - _WEEK
    every = _timed(counts)
    return Trend(
        job=job,
        days=tuple(
            _day(day, counts[n], sorted(lateness[day])) for n, (day, *_) in enumerate(spans)
        ),
        outliers=tuple(await _outliers(connection, job, spans[0][1], every)),
        before_ms=_median(counts[: max(week, 0)]),
        lately_ms=_median(counts[max(week, 0) :]),
        late_since=starts[-1][0] if len(starts) == _MOST_STARTS else None,
    )


def _spans(now: datetime, days: int, zone: ZoneInfo) -> Iterator[tuple[date, datetime, datetime]]:
    """Return the zone's days, each with its start and end instant."""
    today = now.astimezone(zone).date()
    first = today - timedelta(days=days - 1)
    bounds = [first + timedelta(days=n) for n in range(days + 1)]
    instants = [
        datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC) for day in bounds
    ]
    return zip(bounds[:-1], instants[:-1], instants[1:], strict=True)


async def _daily_counts(
    connection: AsyncConnection, job: str, spans: Sequence[tuple[date, datetime, datetime]]
) -> list[list[Any]]:
    """Return each day's counts, summed by outcome and duration bucket."""
    c = job_stat.c
    day = day_number([begins for _, begins, _ in spans]).label("Day")
    rows_by_day: list[list[Any]] = [[] for _ in spans]
    for row in await connection.execute(
        sa.select(
            day,
            c.Outcome,
            c.Bucket,
            sa.func.sum(c.Count).label("Count"),
            sa.func.max(c.MaxMs).label("MaxMs"),
        )
        .where(c.JobName == job, c.BeginsAt >= spans[0][1], c.BeginsAt < spans[-1][2])
        .where(c.Outcome.in_(_DECIDED))
        .group_by(day, c.Outcome, c.Bucket)
    ):
        rows_by_day[row.Day].append(row)
    return rows_by_day


async def _starts(
    connection: AsyncConnection, job: str, since: datetime
) -> list[tuple[datetime, datetime]]:
    """Return start and slot of the newest first attempts, newest first."""
    c = logged_job.c
    rows = await connection.execute(
        sa.select(c.StartedAt, c.ScheduledFor)
        .where(c.JobName == job, c.StartedAt >= since)
        .where(c.ScheduledFor.is_not(None), c.Attempt == 1)
        .order_by(c.StartedAt.desc())
        .limit(_MOST_STARTS)
    )
    return [(row.StartedAt, row.ScheduledFor) for row in rows]


def _timed(counts: Sequence[Sequence[Any]]) -> list[tuple[int, int]]:
    """Return durations with their counts, shortest first."""
    durations: Counter[int] = Counter()
    longest = 0
    for rows in counts:
        for row in rows:
            if row.Bucket != NO_DURATION:
                durations[row.Bucket] += int(row.Count)
                longest = max(longest, row.MaxMs)
    return [(min(duration_of(bucket), longest), durations[bucket]) for bucket in sorted(durations)]


def _median(counts: Sequence[Sequence[Any]]) -> int | None:
    times = _timed(counts)
    return percentile(times, 0.5) if sum(number for _, number in times) >= _ENOUGH else None


def _day(day: date, rows: Sequence[Any], late: Sequence[int]) -> TrendDay:
    ended: Counter[str] = Counter()
    for row in rows:
        ended[row.Outcome] += int(row.Count)
    succeeded, failed, missed = (ended[state] for state in _DECIDED)
    total, times = succeeded + failed + missed, _timed([rows])
    return TrendDay(
        day=day,
        succeeded=succeeded,
        failed=failed,
        missed=missed,
        success_rate=succeeded / total if total else None,
        p50_ms=percentile(times, 0.5),
        p95_ms=percentile(times, 0.95),
        longest_ms=max((row.MaxMs for row in rows if row.Bucket != NO_DURATION), default=None),
        late_p50_ms=late[(len(late) - 1) // 2] if late else None,
        late_most_ms=late[-1] if late else None,
    )


async def _outliers(
    connection: AsyncConnection, job: str, since: datetime, every: Sequence[tuple[int, int]]
) -> list[Outlier]:
    """Return the attempts with the longest recorded durations. Each attempt is looked up within its quarter of an hour."""
    median = percentile(every, 0.5)
    if median is None:
        return []
    c = job_stat.c
    result = await connection.execute(
        sa.select(c.BeginsAt, c.MaxMs)
        .where(c.JobName == job, c.BeginsAt >= since, c.Outcome == RunState.SUCCEEDED)
        .where(c.MaxMs > _OUTLIER * median)
        .order_by(c.MaxMs.desc(), c.BeginsAt.desc())
        .limit(_MOST_OUTLIERS)
    )
    outliers = [await _attempt(connection, job, row.BeginsAt, row.MaxMs) for row in result.all()]
    return sorted(outliers, key=lambda one: one.started_at, reverse=True)


async def _attempt(
    connection: AsyncConnection, job: str, begins_at: datetime, took: int
) -> Outlier:
    """Return the attempt with this duration. If its history row was pruned, return the quarter of an hour without a run."""
    c = logged_job.c
    row = (
        await connection.execute(
            sa.select(c.JobId, c.StartedAt)
            .where(c.JobName == job, c.StartedAt >= begins_at, c.StartedAt < begins_at + QUARTER)
            .where(c.DurationMs == took)
            .limit(1)
        )
    ).one_or_none()
    if row is None:
        return Outlier(None, begins_at, took)
    run = int(row.JobId) if (row.JobId or "").isdecimal() else None
    return Outlier(run, row.StartedAt, took)
