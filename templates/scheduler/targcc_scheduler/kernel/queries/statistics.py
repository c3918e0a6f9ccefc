"""Read statistics from the counts in c_JobStat.

Counts outlive runs and history. A query's cost depends on the period's length, not on how many runs there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...db.columns import joined_texts, whole_seconds
from ...db.tables import job_stat, logged_job
from .. import statistics
from ..runs.values import NO_DURATION, QUARTER, duration_of, quarter_of

_DAY = timedelta(days=1)
_RAN = (RunState.SUCCEEDED, RunState.FAILED)


@dataclass(frozen=True, slots=True)
class Day:
    """Run counts of a job on one day of its time zone."""

    day: date
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStats:
    """Statistics of the runs of a job since an instant.

    An ended run counts once, at the start time of its last attempt. ``runs`` counts succeeded and failed runs; cancelled, missed and
    skipped runs have counts of their own. ``success_rate`` is from 0 to 1, and ``None`` without runs. Durations cover the runs that
    succeeded: ``average_ms`` and ``longest_ms`` are exact, the percentiles are at most 5 % off.
    ``still_counting`` is the approximate number of rows from releases before 0.2, over all jobs, that are not counted yet. Figures of their days grow until it is 0.
    """

    job: str
    since: datetime
    runs: int
    succeeded: int
    failed: int
    cancelled: int
    missed: int
    skipped: int
    retried: int
    success_rate: float | None
    average_ms: int | None
    p50_ms: int | None
    p95_ms: int | None
    longest_ms: int | None
    days: tuple[Day, ...]
    still_counting: int


@dataclass(frozen=True, slots=True)
class EndedRuns:
    """Counts for runs that ended in a period, by quarter-hour and state; for failed and missed runs also by job and state."""

    by_quarter: Counter[tuple[datetime, RunState]]
    by_job: Counter[tuple[str, RunState]]

    @property
    def total(self) -> int:
        """The number of ended runs."""
        return self.by_quarter.total()

    def count(self, *states: RunState) -> int:
        """Count the runs that ended in these states."""
        return sum(number for (_, state), number in self.by_quarter.items() if state in states)

    def jobs(self, *states: RunState) -> set[str]:
        """Return the jobs with a run that ended in any of these states; a success is not a state to ask for."""
        return {job for job, state in self.by_job if state in states}


_BETWEEN_RECORDS = "\x1e"
"""ASCII's record separator, which is in no job's name."""


async def ended_runs(connection: AsyncConnection, since: datetime, until: datetime) -> EndedRuns:
    """Count ended runs for all jobs, in whole quarter-hours from ``since`` to ``until``; both end quarter-hours count.

    The statement returns a row for each quarter-hour, in the order of the index; a group by outcome or job would sort all rows of the
    period. Most rows count successes, which are added up; every other row is a record of a text.
    """
    c = job_stat.c
    record = c.Outcome + " " + sa.cast(c.Count, sa.String) + " " + c.JobName
    others = sa.case((c.Outcome != RunState.SUCCEEDED, record))
    records = joined_texts(others, _BETWEEN_RECORDS)
    statement = sa.select(c.BeginsAt, sa.func.sum(c.Count), records)
    rows = await connection.execute(statement.where(*_between(since, until)).group_by(c.BeginsAt))
    by_quarter: Counter[tuple[datetime, RunState]] = Counter()
    # A Counter of states takes several times as long for thousands of records.
    by_job: dict[tuple[str, str], int] = {}
    for at, number, listed in rows:
        counts: dict[str, int] = {}
        unsuccessful = 0
        for text in listed.split(_BETWEEN_RECORDS) if listed else ():
            outcome, count, job = text.split(" ", 2)
            ended = int(count)
            unsuccessful += ended
            if outcome != RunState.RETRYING:
                counts[outcome] = counts.get(outcome, 0) + ended
                by_job[job, outcome] = by_job.get((job, outcome), 0) + ended
        counts[str(RunState.SUCCEEDED)] = int(number) - unsuccessful
        by_quarter.update({(at, RunState(name)): count for name, count in counts.items() if count})
    states = {str(state): state for state in RunState}
    return EndedRuns(
        by_quarter, Counter({(job, states[name]): count for (job, name), count in by_job.items()})
    )


async def job_stats(
    connection: AsyncConnection, job: str, *, since: datetime, until: datetime, zone: ZoneInfo
) -> JobStats:
    """Return a job's statistics, in total and by day in ``zone``.

    Whole quarter-hours count, from the quarter-hour around ``since`` to the quarter-hour around ``until``. Days are exact,
    since days begin at a quarter-hour in every time zone.
    """
    c = job_stat.c
    conditions = [c.JobName == job, *_between(since, until)]
    totals = await connection.execute(
        sa.select(
            c.Outcome,
            c.Bucket,
            sa.func.sum(c.Count).label("Count"),
            sa.func.sum(c.Retried).label("Retried"),
            sa.func.sum(c.SumMs).label("SumMs"),
            sa.func.max(c.MaxMs).label("MaxMs"),
        )
        .where(*conditions)
        .group_by(c.Outcome, c.Bucket)
        .order_by(c.Bucket)
    )
    first, last = (at.astimezone(zone).date() for at in (since, until))
    dates = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    begins = [datetime(at.year, at.month, at.day, tzinfo=zone).astimezone(UTC) for at in dates]
    day = day_number(begins).label("Day")
    by_day = await connection.execute(
        sa.select(day, c.Outcome, sa.func.sum(c.Count))
        .where(*conditions, c.Outcome.in_(_RAN))
        .group_by(day, c.Outcome)
    )
    counts = Counter({(dates[n], state): int(number) for n, state, number in by_day})
    days = [Day(at, *(counts[at, state] for state in _RAN)) for at in dates]
    left = await statistics.left(connection)
    return _summary(job, quarter_of(since), totals.all(), days, left)


async def last_success(connection: AsyncConnection, job: str) -> datetime | None:
    """Return the instant when the job's last successful run ended, found through its quarter-hour; ``None`` if unknown."""
    c, attempt = job_stat.c, logged_job.c
    newest = sa.select(c.BeginsAt).where(c.JobName == job, c.Outcome == RunState.SUCCEEDED)
    begins_at = await connection.scalar(newest.order_by(c.BeginsAt.desc()).limit(1))
    if begins_at is None:
        return None
    ended: datetime | None = await connection.scalar(
        sa.select(sa.func.max(attempt.CompletedAt, type_=attempt.CompletedAt.type)).where(
            attempt.JobName == job,
            attempt.StartedAt >= begins_at,
            attempt.StartedAt < begins_at + QUARTER,
            attempt.Success == sa.true(),
        )
    )
    return ended


def day_number(begins: Sequence[datetime]) -> sa.ColumnElement[int]:
    """Build the SQL expression that numbers the day, from 0, for a row in ``c_JobStat``.

    Args:
        begins: The first instants on consecutive days. A day may have 23 or 25 hours, when the clock changes.
    """
    at = job_stat.c.BeginsAt
    odd = [n for n in range(len(begins) - 1) if begins[n + 1] - begins[n] != _DAY]
    cases: list[tuple[sa.ColumnElement[bool], sa.ColumnElement[int]]] = []
    for n in reversed(odd):
        cases += [(at >= begins[n + 1], _days_since(begins[n + 1]) + n + 1), (at >= begins[n], sa.literal(n))]  # fmt: skip
    since_first = _days_since(begins[0])
    return sa.case(*cases, else_=since_first) if cases else since_first


def _days_since(instant: datetime) -> sa.ColumnElement[int]:
    at = job_stat.c.BeginsAt
    return whole_seconds(sa.literal(instant, at.type), at) // int(_DAY.total_seconds())


def percentile(counts: Sequence[tuple[int, int]], share: float) -> int | None:
    """Return a percentile by the nearest-rank method: the smallest duration that at least ``share`` of the durations do not exceed.

    Args:
        counts: Durations with their counts, shortest duration first.
        share: The share of durations, from 0 to 1.

    Returns:
        The duration; ``None`` without durations.
    """
    total = sum(number for _, number in counts)
    rank = max(-int(-total * share // 1), 1)  # rounds up
    seen = 0
    for duration, number in counts:
        seen += number
        if seen >= rank:
            return duration
    return None


def _between(since: datetime, until: datetime) -> list[sa.ColumnElement[bool]]:
    return [job_stat.c.BeginsAt >= quarter_of(since), job_stat.c.BeginsAt <= until]


def _summary(
    job: str, since: datetime, totals: Sequence[Any], days: Sequence[Day], still_counting: int
) -> JobStats:
    ended: Counter[str] = Counter()
    for row in totals:
        ended[row.Outcome] += int(row.Count)
    timed = [row for row in totals if row.Bucket != NO_DURATION]
    longest = max((row.MaxMs for row in timed), default=None)
    times = [(min(duration_of(row.Bucket), longest or 0), int(row.Count)) for row in timed]
    number = sum(count for _, count in times)
    succeeded, failed = ended[RunState.SUCCEEDED], ended[RunState.FAILED]
    return JobStats(
        job=job,
        since=since,
        runs=succeeded + failed,
        succeeded=succeeded,
        failed=failed,
        cancelled=ended[RunState.CANCELLED],
        missed=ended[RunState.MISSED],
        skipped=ended[RunState.SKIPPED],
        retried=sum(int(row.Retried) for row in totals if row.Outcome in _RAN),
        success_rate=succeeded / (succeeded + failed) if succeeded + failed else None,
        average_ms=round(sum(int(row.SumMs) for row in timed) / number) if number else None,
        p50_ms=percentile(times, 0.5),
        p95_ms=percentile(times, 0.95),
        longest_ms=longest,
        days=tuple(days),
        still_counting=still_counting,
    )
