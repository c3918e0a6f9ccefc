"""Rows and steps of bulk operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import UnknownBulk
from ...core.states import FINAL, UNBEGUN, WAITING, RunState
from ...db.dialects import known
from ...db.dialects.frequent import FrequentStatement, changed
from ...db.tables import job_bulk, job_bulk_run, job_run
from ...kernel import dependencies, error_groups, on_settled
from ...kernel import job_owner as owners
from ...kernel.engine.submit import RunChanges
from ...kernel.runs import operate, rerun
from ...kernel.runs.create import WAITS_FOR_ITS_TIME
from ...kernel.runs.settle import settle
from ...kernel.runs.transition import state_line, transition
from ...kernel.runs.values import Ready, Then, is_mark, rerun_of

# Bulk operation rows: progress, and the effect on each run.

RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped", "failed"
_RUNNING = FrequentStatement(
    sa.select(job_bulk.c.Id).where(job_bulk.c.Status == RUNNING).order_by(job_bulk.c.Id)
)

GOES_ON = sa.exists().where(job_bulk.c.Status == sa.literal_column(f"'{RUNNING}'"))
"""Condition: a bulk operation is running."""


@dataclass(frozen=True, slots=True)
class Did:
    """Effect of an operation on a run.

    Args:
        run_id: The run. For a paused job, which is no run: -1, -2 and so on.
        new_run_id: The rerun.
        previous: The value before, such as the queue. For a paused job: the job's name.
    """

    run_id: int
    new_run_id: int | None = None
    previous: str | None = None


async def create(connection: AsyncConnection, **values: Any) -> int:
    """Insert a running operation and return the id."""
    done = await connection.execute(
        sa.insert(job_bulk).values(Status=RUNNING, **values).returning(job_bulk.c.Id)
    )
    return int(done.scalar_one())


async def take(connection: AsyncConnection, bulk_id: int) -> Any:
    """Lock a running operation's row until the transaction ends.

    Returns:
        The row; ``None`` when the operation is over or another process has locked the row.
    """
    wanted = sa.select(job_bulk).where(job_bulk.c.Id == bulk_id, job_bulk.c.Status == RUNNING)
    return (await connection.execute(wanted.with_for_update(skip_locked=True))).one_or_none()


async def get(connection: AsyncConnection, bulk_id: int) -> Any:
    """Return an operation's row.

    Raises:
        UnknownBulk: No operation has this id.
    """
    row = (
        await connection.execute(sa.select(job_bulk).where(job_bulk.c.Id == bulk_id))
    ).one_or_none()
    if row is None:
        raise UnknownBulk(f"there is no operation {bulk_id}: targcc bulk list shows them")
    return row


async def running(connection: AsyncConnection) -> list[int]:
    """Return the ids of running operations, oldest first."""
    return [row.Id for row in await _RUNNING.all(connection, {})]


async def advance(
    connection: AsyncConnection, row: Any, did: Sequence[Did], *, place: int | None, refused: int
) -> None:
    """Record a step's effects: rows for the changed runs, the counters, and the last run as ``Place``."""
    if did:
        await connection.execute(
            sa.insert(job_bulk_run),
            [
                {
                    "BulkId": row.Id,
                    "RunId": effect.run_id,
                    "NewRunId": effect.new_run_id,
                    "Previous": effect.previous,
                }
                for effect in did
            ],
        )
    values = {
        "Done": job_bulk.c.Done + len(did),
        "Refused": job_bulk.c.Refused + refused,
        "Place": place,
    }
    await connection.execute(sa.update(job_bulk).where(job_bulk.c.Id == row.Id).values(values))


async def end(
    connection: AsyncConnection, bulk_id: int, state: str, now: datetime, message: str | None = None
) -> bool:
    """End a running operation and return whether the operation was running."""
    ended = (
        sa.update(job_bulk)
        .where(job_bulk.c.Id == bulk_id, job_bulk.c.Status == RUNNING)
        .values(Status=state, EndedAt=now, Message=message)
    )
    return await changed(connection, ended) == 1


async def done_to(
    connection: AsyncConnection, bulk_id: int, after: int | None, most: int
) -> list[Did]:
    """Return up to ``most`` effects from an operation in run id order, starting behind the run ``after``."""
    c = job_bulk_run.c
    query = sa.select(c.RunId, c.NewRunId, c.Previous).where(c.BulkId == bulk_id)
    if after is not None:
        query = query.where(c.RunId > after)
    rows = await connection.execute(query.order_by(c.RunId).limit(most))
    return [Did(row.RunId, row.NewRunId, row.Previous) for row in rows]


async def undone_by(connection: AsyncConnection, bulk_id: int) -> int | None:
    """Return the id of the operation that undoes this operation, or ``None``."""
    undo_id: int | None = await connection.scalar(
        sa.select(job_bulk.c.Id).where(job_bulk.c.Undoes == bulk_id).limit(1)
    )
    return undo_id


async def remove_old(connection: AsyncConnection, before: datetime, _: datetime, most: int) -> int:
    """Delete up to ``most`` operations that ended before an instant, and return their number. Keep an operation while its undo is running."""
    c, undo = job_bulk.c, job_bulk.alias("undo")
    is_undone = sa.exists().where(undo.c.Undoes == c.Id, undo.c.Status == RUNNING)
    old = sa.select(c.Id).where(c.EndedAt < before, ~is_undone)
    ids = list(await connection.scalars(old.order_by(c.Id).limit(most)))
    for column in (job_bulk_run.c.BulkId, c.Id):
        among = known.of(connection).among(column, ids)
        await connection.execute(sa.delete(column.table).where(among))
    return len(ids)


# One step's effects on some runs. A run whose state does not allow the action stays unchanged.

Row = Any
"""Row of ``c_JobRun``."""


@dataclass(frozen=True, kw_only=True)
class Step(RunChanges):
    """Result of a step. The caller applies the changes.

    Args:
        did: Effects on runs.
    """

    did: Sequence[Did] = ()


async def rows(connection: AsyncConnection, run_ids: Sequence[int]) -> list[Row]:
    """Lock runs and their dependents until the transaction ends, and return the runs' rows in ``run_ids`` order."""
    await dependencies.lock_rows(connection, run_ids)
    among = known.of(connection).among(job_run.c.Id, run_ids)
    result = await connection.execute(
        sa.select(job_run).where(among).order_by(job_run.c.Id).with_for_update()
    )
    by_id = {row.Id: row for row in result}
    return [by_id[run_id] for run_id in run_ids if run_id in by_id]


async def retry(
    connection: AsyncConnection,
    rows: Sequence[Row],
    by: str,
    now: datetime,
    dues: Sequence[datetime],
    *,
    then: Then = lambda _job: (),
    waiting: bool = False,
) -> Step:
    """Create reruns of final runs.

    Args:
        connection: The transaction.
        rows: The runs. Unfinished runs, runs retried before, and runs of jobs that the old server owns are left out.
        by: The requester.
        now: The present instant.
        dues: Due instants of the reruns, in order.
        then: Return the follower runs of a job, for slots that did not run; see :func:`.values.rerun_of`.
        waiting: Whether a rerun waits again for the dependencies that its run waited for.
    """
    old_server_jobs = await owners.not_ours(connection, sorted({row.JobName for row in rows}))
    over = [
        row
        for row in rows
        if row.State in FINAL and row.JobName not in old_server_jobs and not _was_retried(row)
    ]
    wanted = [
        replace(rerun_of(row, by, now, then), due_at=due, state=_state(due, now))
        for row, due in zip(over, dues, strict=False)
    ]
    if waiting:
        wanted = await rerun.waiting(connection, wanted)
    done = await rerun.rerun(connection, wanted, by, now)
    for row, new in zip(over, done.ids, strict=True):
        if row.Cause is not None:
            await error_groups.handled_as(connection, row.Id, by, f"retried as run {new}", now)
    return Step(
        did=[Did(row.Id, new) for row, new in zip(over, done.ids, strict=True)],
        created=done.new,
        submit=done.moved,
        settled=done.settled,
    )


async def run_now(
    connection: AsyncConnection,
    rows: Sequence[Row],
    by: str,
    now: datetime,
    dues: Sequence[datetime],
) -> Step:
    """Reschedule scheduled and retrying runs to the instants ``dues``, in order; enqueue a run that is due now."""
    did, submit = [], []
    for row, due in zip(rows, dues, strict=False):
        if row.State not in WAITS_FOR_ITS_TIME:
            continue
        if due > now or is_mark(row.LimitKey):  # a deferred key is requested at the due time
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


async def cancel(connection: AsyncConnection, rows: Sequence[Row], by: str, now: datetime) -> Step:
    """Cancel waiting runs, and request cancellation of running runs from their nodes."""
    settlements = [operate.cancellation(row, by) for row in rows if row.State in UNBEGUN]
    settled = await settle(connection, settlements, now) if settlements else []
    running = [row.Id for row in rows if row.State == RunState.RUNNING]
    if running:
        among = known.of(connection).among(job_run.c.Id, running)
        requester = sa.func.coalesce(job_run.c.CancelRequestedBy, by)
        await connection.execute(
            sa.update(job_run).where(among).values(CancelRequestedBy=requester)
        )
    cancelled = [item.claim.run_id for item in settled]
    return Step(
        did=[Did(run_id) for run_id in sorted([*cancelled, *running])],
        withdraw=cancelled,
        settled=settled,
    )


async def delete(connection: AsyncConnection, rows: Sequence[Row], now: datetime) -> Step:
    """Delete runs that are not running, with their logs and steps."""
    rows_gone = [row for row in rows if row.State != RunState.RUNNING]
    gone = [row.Id for row in rows_gone]
    if not gone:
        return Step()
    await operate.delete_rows(connection, gone)
    left = await on_settled.removed(connection, rows_gone, now)
    return Step(
        did=[Did(run_id) for run_id in gone],
        withdraw=gone,
        submit=left.ready,
        settled=left.settled,
    )


async def move(
    connection: AsyncConnection,
    rows: Sequence[Row],
    *,
    queue: str | None = None,
    priority: int | None = None,
) -> Step:
    """Move waiting runs to another queue, or change their priority."""
    waiting = [row for row in rows if row.State in WAITING]
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
    connection: AsyncConnection, rows: Sequence[Row], by: str, how: str, now: datetime
) -> Step:
    """Mark open failed runs as handled, so that the inbox no longer lists the runs."""
    open_ = [row.Id for row in rows if row.Cause is not None and row.HandledAt is None]
    for run_id in open_:
        await error_groups.handled_as(connection, run_id, by, how, now)
    return Step(did=[Did(run_id) for run_id in open_])


def _was_retried(row: Row) -> bool:
    """Return whether the run was retried before; a second retry could send or book twice."""
    return bool(row.Handling) and row.Handling.startswith("retried as run ")


def _state(due: datetime, now: datetime) -> RunState:
    return RunState.SCHEDULED if due > now else RunState.ENQUEUED
