"""How a job moves from day to day: durations and results from the counts in c_JobStat, lateness from its newest attempts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...storage.statistics.buckets import NO_DURATION, duration_of
from ...storage.statistics.endings import QUARTER
from ...storage.tables import job_stat, logged_job
from ..statistics import percentile

MOST_DAYS = 90
_MOST_STARTS = 2_000
_MOST_OUTLIERS = 8
_OUTLIER = 3
"""So many times the median and more is an outlier."""
_DECIDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.MISSED)
_WEEK = 7
_ENOUGH = 5
_DRIFT = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendDay:
    """One day of the job's zone.

    ``success_rate`` is of what succeeded, failed or was missed; durations are of the runs that succeeded, percentiles at most 5 % off. ``late_p50_ms`` and
    ``late_most_ms`` say how long after its slot a run's first attempt began; they are ``None`` where no such attempt is known.
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
    """An attempt that took far longer than others; ``run`` is ``None`` for one of an imported history."""

    run: int | None
    started_at: datetime
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """The days of a job, oldest first.

    Args:
        outliers: The longest attempts that took more than three times the median; newest first.
        before_ms: The median up to a week ago; ``None`` if too little ran then or since.
        lately_ms: The median since.
        late_since: Lateness is of the attempts since then: the newest 2,000.
    """

    job: str
    days: tuple[TrendDay, ...]
    outliers: tuple[Outlier, ...]
    before_ms: int | None
    lately_ms: int | None
    late_since: datetime | None

    @property
    def drift(self) -> float | None:
        """How many times as long as before it takes lately; ``None`` when that is no matter."""
        if not self.before_ms or self.lately_ms is None:
            return None
        ratio = self.lately_ms / self.before_ms
        return ratio if ratio >= _DRIFT or ratio <= 1 / _DRIFT else None


async def trend(
    connection: AsyncConnection, job: str, now: datetime, *, days: int, zone: ZoneInfo
) -> Trend:
    """The trend of ``job`` over the last ``days`` days of ``zone``, today being one; at most :data:`MOST_DAYS`."""
    spans = list(_spans(now, min(days, MOST_DAYS), zone))
    counts = await _counts(connection, job, spans)
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
    """The days of the zone, each with its first instant and its end."""
    today = now.astimezone(zone).date()
    first = today - timedelta(days=days - 1)
    bounds = [first + timedelta(days=n) for n in range(days + 1)]
    instants = [
        datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC) for day in bounds
    ]
    return zip(bounds[:-1], instants[:-1], instants[1:], strict=True)


async def _counts(
    connection: AsyncConnection, job: str, spans: Sequence[tuple[date, datetime, datetime]]
) -> list[list[Any]]:
    """The rows of each day, added up by outcome and class of duration; each day is found by the key of the table."""
    c = job_stat.c
    parts = [
        sa.select(
            sa.literal(n).label("Day"),
            c.Outcome,
            c.Bucket,
            sa.func.sum(c.Count).label("Count"),
            sa.func.max(c.MaxMs).label("MaxMs"),
        )
        .where(c.JobName == job, c.BeginsAt >= begins, c.BeginsAt < ends)
        .where(c.Outcome.in_(_DECIDED))
        .group_by(c.Outcome, c.Bucket)
        for n, (_, begins, ends) in enumerate(spans)
    ]
    found: list[list[Any]] = [[] for _ in spans]
    for row in await connection.execute(sa.union_all(*parts)):
        found[row.Day].append(row)
    return found


async def _starts(
    connection: AsyncConnection, job: str, since: datetime
) -> list[tuple[datetime, datetime]]:
    """When the newest first attempts of slots began, and their slots, newest first."""
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
    """Durations and how many there are of each, the shortest first."""
    found: Counter[int] = Counter()
    longest = 0
    for rows in counts:
        for row in rows:
            if row.Bucket != NO_DURATION:
                found[row.Bucket] += int(row.Count)
                longest = max(longest, row.MaxMs)
    return [(min(duration_of(bucket), longest), found[bucket]) for bucket in sorted(found)]


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
    """The attempts behind the longest durations that were counted, each found in its quarter of an hour."""
    median = percentile(every, 0.5)
    if median is None:
        return []
    c = job_stat.c
    found = await connection.execute(
        sa.select(c.BeginsAt, c.MaxMs)
        .where(c.JobName == job, c.BeginsAt >= since, c.Outcome == RunState.SUCCEEDED)
        .where(c.MaxMs > _OUTLIER * median)
        .order_by(c.MaxMs.desc(), c.BeginsAt.desc())
        .limit(_MOST_OUTLIERS)
    )
    outliers = [await _attempt(connection, job, row.BeginsAt, row.MaxMs) for row in found.all()]
    return sorted(outliers, key=lambda one: one.started_at, reverse=True)


async def _attempt(
    connection: AsyncConnection, job: str, begins_at: datetime, took: int
) -> Outlier:
    """The attempt that took so long; its quarter of an hour alone, if its row is not kept."""
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
