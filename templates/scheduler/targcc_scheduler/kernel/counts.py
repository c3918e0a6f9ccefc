"""Compare stored counts with the rows that they count: batches, flows, statistics, limits.

A transaction that changes a row changes the count, so a difference is a mistake of the scheduler or of a program that wrote to the tables.
Each comparison is one statement, which sees one snapshot, and reads a bounded number of counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import ACTIVE, FINAL, RunState
from ..db.tables import job_batch, job_limit, job_run, job_stat, logged_job
from .limits import TAKEN, TAKER, has_capacity, of_key
from .runs.values import quarter_of

MOST = 500
"""Maximum number of batches, flows, jobs or keys that a comparison reads."""
_OVER = {"succeeded", "failed", "cancelled", "skipped"}
_BAD = {"failed", "cancelled"}
_STATISTICS_PERIOD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored count that differs from its rows.

    Args:
        subject: The owner of the count, such as ``batch 7``.
        count: What is counted.
        stored: The stored count.
        rows: The number of rows.
        batch_id: The batch, for a count of a batch.
        column: The column of the batch.
    """

    subject: str
    count: str
    stored: int
    rows: int
    batch_id: int | None = None
    column: str = ""

    def __str__(self) -> str:
        """Return a sentence for people."""
        return f"{self.subject} counts {self.stored} {self.count}, its rows are {self.rows}"


async def differences(connection: AsyncConnection, now: datetime) -> list[Difference]:
    """Return the counts that differ from their rows, at most :data:`MOST` of each kind."""
    return [
        *await _of_batches(connection),
        *await _of_flows(connection),
        *await _of_statistics(connection, now),
        *await _of_limits(connection),
    ]


def _members(*which: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    runs = sa.select(sa.func.count()).where(job_run.c.BatchId == job_batch.c.Id, *which)
    return runs.where(job_run.c.Step.is_(None)).correlate(job_batch).scalar_subquery()


async def _of_batches(connection: AsyncConnection, batch_id: int | None = None) -> list[Difference]:
    """Compare running batches, or a single batch, with their members.

    A member that was deleted or pruned after its end stays in ``Total`` and ``Failed``, so that these are at least the number of rows.
    """
    c, inner = job_batch.c, job_batch.alias("inner_batch")

    def inner_batches(*which: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
        batches = sa.select(sa.func.count()).where(inner.c.ParentId == c.Id, *which)
        return batches.correlate(job_batch).scalar_subquery()

    bad = job_run.c.State.in_(sorted(FINAL - {RunState.SUCCEEDED}))
    query = sa.select(
        c.Id,
        c.Pending,
        c.Failed,
        c.Total,
        (
            _members(job_run.c.State.in_(sorted(ACTIVE)))
            + inner_batches(inner.c.State == "running")
        ).label("pending"),
        (_members(bad) + inner_batches(inner.c.State.in_(sorted(_BAD)))).label("failed"),
        (_members() + inner_batches()).label("total"),
    ).where(c.Kind == "batch")
    query = query.where(c.State == "running" if batch_id is None else c.Id == batch_id)
    rows = await connection.execute(query.order_by(c.Id.desc()).limit(MOST))
    return [difference for row in rows for difference in _of_batch(row)]


def _of_batch(row: Any) -> Iterator[Difference]:
    wrong = (
        ("pending members", "Pending", row.Pending != row.pending, row.pending),
        ("failed members", "Failed", row.Failed < row.failed, row.failed),
        ("members", "Total", row.Total < row.total, row.total),
    )
    for what, column, differs, rows in wrong:
        if differs:
            stored = getattr(row, column)
            yield Difference(f"batch {row.Id}", what, stored, rows, row.Id, column)


async def _of_flows(connection: AsyncConnection) -> list[Difference]:
    c = job_batch.c
    query = sa.select(c.Id, c.Total, c.Pending, c.Failed, c.DefinitionJson)
    running = query.where(c.Kind == "flow", c.State == "running").order_by(c.Id.desc())
    wrong: list[Difference] = []
    for row in await connection.execute(running.limit(MOST)):
        states = [step["state"] for step in json.loads(row.DefinitionJson or "{}").values()]
        expected = (
            ("steps", row.Total, len(states)),
            ("pending steps", row.Pending, sum(state not in _OVER for state in states)),
            ("failed steps", row.Failed, sum(state in _BAD for state in states)),
        )
        wrong += [
            Difference(f"flow {row.Id}", what, stored, rows)
            for what, stored, rows in expected
            if stored != rows
        ]
    return wrong


async def _of_statistics(connection: AsyncConnection, now: datetime) -> list[Difference]:
    """Compare the successes of the last day with the history: pruning removes only history, so the statistics have at least as many."""
    since = quarter_of(now - _STATISTICS_PERIOD)
    # An expression, since SQLite without statistics would group by an index of names, and read the whole history.
    name = sa.func.coalesce(logged_job.c.JobName, "").label("JobName")
    succeeded = sa.select(name, sa.func.count().label("rows"))
    succeeded = succeeded.where(logged_job.c.StartedAt >= since, logged_job.c.Success == sa.true())
    history = succeeded.group_by(name).subquery()
    is_job = sa.and_(
        job_stat.c.JobName == history.c.JobName,
        job_stat.c.BeginsAt >= since,
        job_stat.c.Outcome == RunState.SUCCEEDED,
    )
    counted = sa.func.coalesce(sa.func.sum(job_stat.c.Count), 0)
    query = (
        sa.select(history.c.JobName, history.c.rows, counted.label("stored"))
        .select_from(history.outerjoin(job_stat, is_job))
        .group_by(history.c.JobName, history.c.rows)
        .having(counted < history.c.rows)
        .order_by(history.c.JobName)
    )
    return [
        Difference(f"the statistics of {row.JobName} since {since:%Y-%m-%d %H:%M} UTC",
                   "successes", int(row.stored), row.rows)
        for row in await connection.execute(query.limit(MOST))
    ]  # fmt: skip


async def _of_limits(connection: AsyncConnection) -> list[Difference]:
    """Find keys whose runs take more than the limit; a single run may be heavier than the limit."""
    c = job_limit.c
    takers = of_key(sa.func.count(), has_capacity(TAKER))
    query = sa.select(c.LimitKey, c.Most, TAKEN.label("taken"))
    too_many = query.where(c.Most.is_not(None), c.Most < TAKEN, takers > 1)
    rows = await connection.execute(too_many.order_by(c.LimitKey).limit(MOST))
    return [Difference(f"limit {row.LimitKey}", "places", row.Most, int(row.taken)) for row in rows]


async def repair(connection: AsyncConnection) -> list[Difference]:
    """Correct the counts of running batches, and return the differences.

    Each batch is counted again with its row locked: a transaction that changes a member waits for the lock before it changes the count.
    A corrected batch without pending members is ended by the next sweep of a node.
    """
    corrected = []
    for batch_id in {item.batch_id for item in await _of_batches(connection)} - {None}:
        row = job_batch.c.Id == batch_id
        await connection.execute(sa.select(job_batch.c.Id).where(row).with_for_update())
        again = await _of_batches(connection, batch_id)
        for item in again:
            await connection.execute(
                sa.update(job_batch).where(row).values({item.column: item.rows})
            )
        corrected += again
    return corrected
