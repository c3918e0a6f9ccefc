"""What one step of an operation does to some runs; those whose state does not allow it are left as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL, UNBEGUN, WAITING, RunState
from ..dialects import known
from ..failures import groups
from ..owners import rows as owners
from ..runs import operate
from ..runs.settle import settle
from ..runs.stage import WAITS_FOR_ITS_TIME
from ..runs.transition import state_line, transition
from ..runs.values import NewRun, Settlement, Then
from ..tables import job_run
from ..ties import again, ended, holding
from ..ties.consequences import Ready
from ..ties.keys.marks import is_mark
from .rows import Did

Row = Any
"""A row of ``c_JobRun``."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What came of a step.

    Args:
        did: What was done to which run.
        created: Runs that were created, with their ids; they are to be submitted, and followed by those of the jobs that follow theirs.
        submit: Other runs that wait from now on.
        withdraw: Runs that do not wait any more.
        settled: Runs that were settled.
    """

    did: Sequence[Did] = ()
    created: Sequence[tuple[int, NewRun]] = ()
    submit: Sequence[Ready] = ()
    withdraw: Sequence[int] = ()
    settled: Sequence[Settlement] = ()


async def rows(connection: AsyncConnection, run_ids: Sequence[int]) -> list[Row]:
    """The rows of these runs, in the order of the ids, locked until the transaction ends, as are those that wait for them."""
    await holding.hold(connection, run_ids)
    among = known.of(connection).among(job_run.c.Id, run_ids)
    found = await connection.execute(
        sa.select(job_run).where(among).order_by(job_run.c.Id).with_for_update()
    )
    by_id = {row.Id: row for row in found}
    return [by_id[run_id] for run_id in run_ids if run_id in by_id]


async def retry(
    connection: AsyncConnection,
    found: Sequence[Row],
    by: str,
    now: datetime,
    dues: Sequence[datetime],
    *,
    then: Then = lambda _job: (),
    waiting: bool = False,
) -> Step:
    """Do runs that are over again, each as a new run, due at these instants.

    Args:
        connection: The transaction.
        found: The runs; those that are not over, or were done again before, are left out.
        by: Who wants it.
        now: The present instant.
        dues: For each when it is due.
        then: The runs of the jobs that follow a job, for slots that brought none; see :func:`..runs.operate.again`.
        waiting: Whether those that waited for others wait for them again.
    """
    theirs = await owners.not_ours(connection, sorted({row.JobName for row in found}))
    over = [
        row
        for row in found
        if row.State in FINAL and row.JobName not in theirs and not _was_retried(row)
    ]
    wanted = [
        replace(operate.again(row, by, now, then), due_at=due, state=_state(due, now))
        for row, due in zip(over, dues, strict=False)
    ]
    if waiting:
        wanted = await again.waiting(connection, wanted)
    done = await again.do_again(connection, wanted, by, now)
    for row, new in zip(over, done.ids, strict=True):
        if row.Cause is not None:
            await groups.handled_as(connection, row.Id, by, f"retried as run {new}", now)
    return Step(
        did=[Did(row.Id, new) for row, new in zip(over, done.ids, strict=True)],
        created=done.new,
        submit=done.moved,
        settled=done.settled,
    )


async def run_now(
    connection: AsyncConnection,
    found: Sequence[Row],
    by: str,
    now: datetime,
    dues: Sequence[datetime],
) -> Step:
    """Make runs that wait for their time due at these instants."""
    did, submit = [], []
    for row, due in zip(found, dues, strict=False):
        if row.State not in WAITS_FOR_ITS_TIME:
            continue
        if due > now or is_mark(row.LimitKey):  # it asks for its keys when it is due
            moved = sa.update(job_run).where(job_run.c.Id == row.Id, job_run.c.State == row.State)
            await connection.execute(moved.values(DueAt=due))
        else:
            at_once = transition(
                RunState.ENQUEUED, job_run.c.Id == row.Id, sources=WAITS_FOR_ITS_TIME, DueAt=now
            )
            line = state_line(now, RunState.ENQUEUED, f"at once, by {by}")
            await connection.execute(at_once, {"line": line})
        did.append(Did(row.Id, previous=row.DueAt.isoformat()))
        submit.append(Ready(row.Id, row.Queue, row.Priority, due))
    return Step(did=did, submit=submit)


async def cancel(connection: AsyncConnection, found: Sequence[Row], by: str, now: datetime) -> Step:
    """Cancel runs that wait, and ask the nodes of those that run to stop them."""
    settlements = [operate.cancellation(row, by) for row in found if row.State in UNBEGUN]
    settled = await settle(connection, settlements, now) if settlements else []
    running = [row.Id for row in found if row.State == RunState.RUNNING]
    if running:
        among = known.of(connection).among(job_run.c.Id, running)
        asked = sa.func.coalesce(job_run.c.CancelRequestedBy, by)
        await connection.execute(sa.update(job_run).where(among).values(CancelRequestedBy=asked))
    cancelled = [item.claim.run_id for item in settled]
    return Step(
        did=[Did(run_id) for run_id in sorted([*cancelled, *running])],
        withdraw=cancelled,
        settled=settled,
    )


async def delete(connection: AsyncConnection, found: Sequence[Row], now: datetime) -> Step:
    """Remove runs that do not run, with their logs and steps."""
    rows_gone = [row for row in found if row.State != RunState.RUNNING]
    gone = [row.Id for row in rows_gone]
    if not gone:
        return Step()
    await operate.delete_rows(connection, gone)
    left = await ended.removed(connection, rows_gone, now)
    return Step(
        did=[Did(run_id) for run_id in gone],
        withdraw=gone,
        submit=left.ready,
        settled=left.settled,
    )


async def move(
    connection: AsyncConnection,
    found: Sequence[Row],
    *,
    queue: str | None = None,
    priority: int | None = None,
) -> Step:
    """Give runs that wait another queue or priority."""
    waiting = [row for row in found if row.State in WAITING]
    if not waiting:
        return Step()
    values: dict[str, Any] = {"Queue": queue} if queue is not None else {"Priority": priority}
    among = known.of(connection).among(job_run.c.Id, [row.Id for row in waiting])
    await connection.execute(sa.update(job_run).where(among).values(values))
    return Step(
        did=[
            Did(row.Id, previous=row.Queue if queue is not None else str(row.Priority))
            for row in waiting
        ],
        withdraw=[row.Id for row in waiting],
        submit=[
            Ready(
                row.Id,
                row.Queue if queue is None else queue,
                row.Priority if priority is None else priority,
                row.DueAt,
            )
            for row in waiting
        ],
    )


async def discard(
    connection: AsyncConnection, found: Sequence[Row], by: str, how: str, now: datetime
) -> Step:
    """Take runs that failed off the inbox."""
    open_ = [row.Id for row in found if row.Cause is not None and row.HandledAt is None]
    for run_id in open_:
        await groups.handled_as(connection, run_id, by, how, now)
    return Step(did=[Did(run_id) for run_id in open_])


def _was_retried(row: Row) -> bool:
    """Whether somebody has had it done again: twice is once too often for what it sends or books."""
    return bool(row.Handling) and row.Handling.startswith("retried as run ")


def _state(due: datetime, now: datetime) -> RunState:
    return RunState.SCHEDULED if due > now else RunState.ENQUEUED
