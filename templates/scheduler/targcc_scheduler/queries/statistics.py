"""Figures of one job, from c_LoggedJob: they outlive the runs that are pruned and hold what was imported from TARGCC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..storage.tables import logged_job

_MOST_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Day:
    """What a job did on one day of its zone."""

    day: date
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStats:
    """The results of a job since an instant.

    A run counts once, by its last attempt; durations are of the attempts that succeeded. ``success_rate`` is from 0 to 1, and
    ``None`` when nothing ran.
    """

    job: str
    since: datetime
    runs: int
    succeeded: int
    failed: int
    retried: int
    success_rate: float | None
    average_ms: int | None
    p50_ms: int | None
    p95_ms: int | None
    longest_ms: int | None
    days: tuple[Day, ...]


@dataclass(frozen=True, slots=True)
class _Outcome:
    run: str
    attempt: int
    started_at: datetime
    success: bool
    duration_ms: int | None


def percentile(ordered: Sequence[int], share: float) -> int | None:
    """The smallest of ``ordered`` that at least ``share`` of them do not exceed (the nearest rank); ``None`` of nothing."""
    if not ordered:
        return None
    rank = -int(-len(ordered) * share // 1)  # rounds up
    return ordered[max(rank, 1) - 1]


async def job_stats(
    connection: AsyncConnection, job: str, *, since: datetime, until: datetime, zone: ZoneInfo
) -> JobStats:
    """The figures of ``job`` from ``since`` to ``until``, by days of ``zone``; of the newest 100,000 attempts at most."""
    c = logged_job.c
    statement = (
        sa.select(c.ID, c.JobId, c.Attempt, c.StartedAt, c.Success, c.DurationMs)
        .where(c.JobName == job, c.StartedAt >= since, c.StartedAt <= until)
        .order_by(c.StartedAt.desc())
        .limit(_MOST_ROWS)
    )
    rows = await connection.execute(statement)
    attempts = [
        _Outcome(
            row.JobId or f"row {row.ID}", row.Attempt, row.StartedAt, row.Success, row.DurationMs
        )
        for row in rows
    ]
    return _summary(job, attempts, since, until, zone)


def _summary(
    job: str, attempts: Sequence[_Outcome], since: datetime, until: datetime, zone: ZoneInfo
) -> JobStats:
    last: dict[str, _Outcome] = {}
    for attempt in sorted(attempts, key=lambda one: (one.attempt, one.started_at)):
        last[attempt.run] = attempt
    runs = list(last.values())
    times = sorted(a.duration_ms for a in attempts if a.success and a.duration_ms is not None)
    succeeded = sum(run.success for run in runs)
    return JobStats(
        job=job,
        since=since,
        runs=len(runs),
        succeeded=succeeded,
        failed=len(runs) - succeeded,
        retried=sum(run.attempt > 1 for run in runs),
        success_rate=succeeded / len(runs) if runs else None,
        average_ms=round(sum(times) / len(times)) if times else None,
        p50_ms=percentile(times, 0.5),
        p95_ms=percentile(times, 0.95),
        longest_ms=times[-1] if times else None,
        days=tuple(
            _by_day(runs, since.astimezone(zone).date(), until.astimezone(zone).date(), zone)
        ),
    )


def _by_day(runs: Iterable[_Outcome], first: date, last: date, zone: ZoneInfo) -> list[Day]:
    counts = {first + timedelta(days=n): [0, 0] for n in range((last - first).days + 1)}
    for run in runs:
        counts[run.started_at.astimezone(zone).date()][0 if run.success else 1] += 1
    return [Day(day, succeeded, failed) for day, (succeeded, failed) in counts.items()]
