"""Bars of a timeline, or counts for jobs with too many runs for bars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL, RunState
from ...db.columns import whole_seconds
from ...db.tables import job_run, job_stat, logged_job
from ...kernel.queries.models import Run
from ...kernel.runs.values import QUARTER, quarter_of

# Bars: the attempts of jobs within a range, read with one index lookup for each job.

MOST_BARS = 60
"""Limit of bars in a row. A job with more runs is shown by its counts."""
LONGEST = timedelta(days=1)
"""Limit of the look-back: an attempt that began longer than this before the range is not found."""
STATEMENTS_KEPT = 8
"""Size of the cache of statements, one for each number of jobs; a statement for 60 jobs takes 400 kB."""
_MOST_LANES = 4
_KEPT = sa.select(job_run.c.Id, job_run.c.State, job_run.c.BatchId).where(
    job_run.c.Id.in_(sa.bindparam("ids", expanding=True))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An attempt.

    Args:
        run: Id of the run; ``None`` for a removed or imported run.
        end: End time; ``None`` while the attempt runs.
        state: Result of the attempt; ``retrying`` when another attempt followed.
        attempt: Number of the attempt in its run.
        planned: Slot of the run, if any.
        batch: Batch or flow of the run.
        lane: Lane among simultaneous bars, from 0.
    """

    run: int | None
    start: datetime
    end: datetime | None
    state: RunState
    attempt: int
    planned: datetime | None
    batch: int | None = None
    lane: int = 0

    @property
    def lateness(self) -> timedelta | None:
        """Time from the slot to the start of the first attempt; ``None`` for later attempts and for runs without a slot."""
        if self.planned is None or self.attempt > 1:
            return None
        return max(self.start - self.planned, timedelta(0))


def running_bar(run: Run) -> Bar:
    """Return the bar of a running run."""
    return Bar(
        run=run.id,
        start=run.started_at or run.due_at,
        end=None,
        state=run.state,
        attempt=run.attempt,
        planned=run.scheduled_for,
        batch=run.batch_id,
    )


async def attempts_of(
    connection: AsyncConnection, names: Sequence[str], since: datetime, until: datetime
) -> dict[str, list[Bar]]:
    """Return the attempts of each job that overlap the range: the newest, up to :data:`MOST_BARS` a job."""
    if not names:
        return {}
    parameters = {f"job{n}": name for n, name in enumerate(names)}
    times = {"earliest": since - LONGEST, "since": since, "until": until}
    rows = (await connection.execute(_attempts(len(names)), parameters | times)).all()
    kept = await _kept(connection, rows)
    last: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        last[row.JobName, row.JobId] = max(last[row.JobName, row.JobId], row.Attempt)
    bars: dict[str, list[Bar]] = {name: [] for name in names}
    for row in rows:
        goes_on = row.JobId is not None and row.Attempt < last[row.JobName, row.JobId]
        bars[row.JobName].append(_bar(row, kept.get(row.JobId), goes_on=goes_on))
    return bars


@lru_cache(maxsize=STATEMENTS_KEPT)
def _attempts(jobs: int) -> sa.Executable:
    """Build the statement for a number of jobs.

    Cached: building takes longer than executing, and leaves reference cycles to the garbage collector.
    """
    c = logged_job.c
    columns = c.JobName, c.JobId, c.StartedAt, c.CompletedAt, c.Success, c.Attempt, c.ScheduledFor
    parts = (
        sa.select(*columns)
        .where(c.JobName == sa.bindparam(f"job{n}"))
        .where(c.StartedAt >= sa.bindparam("earliest"), c.StartedAt < sa.bindparam("until"))
        .where(sa.func.coalesce(c.CompletedAt, c.StartedAt) >= sa.bindparam("since"))
        .order_by(c.StartedAt.desc())
        .limit(MOST_BARS)
        .subquery()
        for n in range(jobs)
    )
    return sa.union_all(*(sa.select(part) for part in parts))


async def _kept(connection: AsyncConnection, rows: Iterable[sa.Row[Any]]) -> dict[str | None, Any]:
    """Return the runs that still exist, keyed by id as a text, as in the history."""
    ids = sorted({int(row.JobId) for row in rows if (row.JobId or "").isdecimal()})
    runs = await connection.execute(_KEPT, {"ids": ids})
    return {str(run.Id): run for run in runs}


def _bar(row: sa.Row[Any], run: Any, *, goes_on: bool) -> Bar:
    state = RunState(run.State) if run is not None else None
    if row.Success:
        became = RunState.SUCCEEDED
    elif goes_on or (state is not None and state not in FINAL):
        became = RunState.RETRYING
    else:
        became = state if state is RunState.CANCELLED else RunState.FAILED
    return Bar(
        run=run.Id if run is not None else None,
        start=row.StartedAt,
        end=row.CompletedAt or row.StartedAt,
        state=became,
        attempt=row.Attempt,
        planned=row.ScheduledFor,
        batch=run.BatchId if run is not None else None,
    )


def in_lanes(bars: Iterable[Bar]) -> tuple[tuple[Bar, ...], int]:
    """Sort bars by start and place overlapping bars in different lanes. Return the bars and the number of lanes."""
    ends: list[datetime | None] = []
    placed = []
    for bar in sorted(bars, key=lambda one: one.start):
        free = (n for n, end in enumerate(ends) if end is not None and end <= bar.start)
        lane = next(free, len(ends) if len(ends) < _MOST_LANES else _MOST_LANES - 1)
        ends[lane : lane + 1] = [bar.end]
        placed.append(replace(bar, lane=lane))
    return tuple(placed), max(len(ends), 1)


# Counts of jobs with too many runs for bars, in blocks of time.

_MOST_BLOCKS = 24


@dataclass(frozen=True, slots=True)
class Block:
    """Number of ended runs of a job that started in one or several quarter-hours, by state."""

    at: datetime
    until: datetime
    ended: Mapping[RunState, int]


async def blocks_of(
    connection: AsyncConnection, names: Collection[str], since: datetime, until: datetime
) -> dict[str, list[Block]]:
    """Return the blocks of each job. A block spans one or more quarters of an hour."""
    first = quarter_of(since)
    length = -(-(until - first) // (_MOST_BLOCKS * QUARTER)) * QUARTER
    statement = _counted(names, first, until, int(length.total_seconds()))
    counts: dict[tuple[str, int], dict[RunState, int]] = defaultdict(dict)
    for name, n, state, number in await connection.execute(statement):
        counts[name, n][RunState(state)] = int(number)
    blocks: dict[str, list[Block]] = defaultdict(list)
    for (name, n), ended in counts.items():
        begins = first + n * length
        blocks[name].append(Block(begins, begins + length, ended))
    return blocks


def _counted(
    names: Collection[str], first: datetime, until: datetime, seconds: int
) -> sa.Select[str, int, str, int]:
    c = job_stat.c
    since_first = whole_seconds(sa.literal(first, c.BeginsAt.type), c.BeginsAt)
    place = (since_first // seconds).label("Place")
    return (
        sa.select(c.JobName, place, c.Outcome, sa.func.sum(c.Count))
        .where(
            c.JobName.in_(names),
            c.BeginsAt >= first,
            c.BeginsAt < until,
            c.Outcome.in_(sorted(FINAL)),
        )
        .group_by(c.JobName, place, c.Outcome)
        .order_by(place)
    )
