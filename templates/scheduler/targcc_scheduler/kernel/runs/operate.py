"""Cancel, start, rerun or remove a run at an operator's request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import RunStateError, UnknownRun
from ...core.languages import Localized
from ...core.states import ACTIVE, UNBEGUN, RunState
from ...db.dialects import known
from ...db.dialects.frequent import changed, is_in_list
from ...db.tables import job_idempotency, job_link, job_log_line, job_run, job_step, job_unique
from .. import blobs
from .claim import claim_of
from .create import WAITS_FOR_ITS_TIME
from .settle import settle
from .transition import is_in_state, state_line, transition
from .values import Settlement, has_its_keys

Row = Any
"""A row of ``c_JobRun``: its columns by name."""


def cancellation(row: Row, by: str) -> Settlement:
    """Build the settlement that cancels a waiting run."""
    return Settlement(
        claim=claim_of(row, {}),
        source=RunState(row.State),
        state=RunState.CANCELLED,
        note=f"by {by}",
        message=f"cancelled by {by}",
        cancelled_by=by,
    )


async def cancel(
    connection: AsyncConnection, run_id: int, by: str, now: datetime
) -> tuple[RunState, list[Settlement]]:
    """Cancel a waiting run at once; for a running run, ask its node to stop the run.

    Returns:
        ``cancelled``, or ``running`` if a node was asked; and the settlements, whose effects the caller applies: see
        ``kernel/engine/submit.py``.

    Raises:
        UnknownRun: no run has this id.
        RunStateError: the run is over.
    """
    row = await _find(connection, run_id, lock=True)
    if row.State in UNBEGUN:
        return RunState.CANCELLED, await settle(connection, [cancellation(row, by)], now)
    if row.State != RunState.RUNNING:
        raise RunStateError(
            Localized(
                "run %(run)s is %(state)s: there is nothing to cancel",
                run=run_id,
                state=Localized(str(row.State)),
            )
        )
    await connection.execute(
        sa.update(job_run)
        .where(job_run.c.Id == run_id)
        .values(CancelRequestedBy=sa.func.coalesce(job_run.c.CancelRequestedBy, by))
    )
    return RunState.RUNNING, []


async def run_now(connection: AsyncConnection, run_id: int, by: str, now: datetime) -> bool:
    """Make a scheduled or retrying run due now; return whether the run was in one of these states.

    A run with deferred keys only gets the new due time: the run asks for its keys before starting.
    """
    due_now = transition(
        RunState.ENQUEUED,
        job_run.c.Id == run_id,
        has_its_keys(),
        sources=WAITS_FOR_ITS_TIME,
        DueAt=now,
    )
    line = state_line(now, RunState.ENQUEUED, f"at once, by {by}")
    if await changed(connection, due_now, {"line": line}) == 1:
        return True
    asks_now = sa.update(job_run).where(
        job_run.c.Id == run_id, sa.not_(has_its_keys()), is_in_state(*WAITS_FOR_ITS_TIME)
    )
    return await changed(connection, asks_now.values(DueAt=now)) == 1


async def over(connection: AsyncConnection, run_id: int) -> Row:
    """Return the row of a run that is over.

    Raises:
        UnknownRun: no run has this id.
        RunStateError: the run is not over.
    """
    row = await _find(connection, run_id)
    if row.State in ACTIVE:
        raise RunStateError(
            Localized(
                "run %(run)s is %(state)s: only a run that is over can be done again",
                run=run_id,
                state=Localized(str(row.State)),
            )
        )
    return row


async def find_submission(connection: AsyncConnection, run_id: int) -> tuple[str, int, datetime]:
    """Return the queue, priority and due instant of a run."""
    row = await _find(connection, run_id)
    return row.Queue, row.Priority, row.DueAt


async def delete(connection: AsyncConnection, run_id: int) -> Row:
    """Remove a run with its log and steps; return the removed row. The history of the run stays.

    Raises:
        UnknownRun: no run has this id.
        RunStateError: the run is running.
    """
    row = await _find(connection, run_id, lock=True)
    if row.State == RunState.RUNNING:
        raise RunStateError(Localized("run %(run)s is running: cancel it first", run=run_id))
    await delete_rows(connection, [run_id])
    return row


async def delete_rows(connection: AsyncConnection, run_ids: Sequence[int]) -> int:
    """Remove runs with their logs, steps, files and keys; return how many runs the database removed."""
    await blobs.remove_of(connection, run_ids)
    for table in (job_unique, job_idempotency):
        await _delete_keys(connection, table, run_ids)
    for table, column in (
        (job_link, job_link.c.ChildId),
        (job_log_line, job_log_line.c.RunId),
        (job_step, job_step.c.RunId),
    ):
        among = known.of(connection).among(column, run_ids)
        await connection.execute(sa.delete(table).where(among))
    await known.of(connection).keep_ids(connection)
    runs = known.of(connection).among(job_run.c.Id, run_ids)
    return await changed(connection, sa.delete(job_run).where(runs))


async def _delete_keys(
    connection: AsyncConnection, table: sa.Table, run_ids: Sequence[int]
) -> None:
    """Remove the keys of runs. Rows are locked in the order in which other transactions take keys."""
    c = table.alias().c
    condition = known.of(connection).among(c.RunId, run_ids)
    keys = sa.select(c.RunId).where(condition).order_by(*(c[key.name] for key in table.primary_key))
    is_locked = is_in_list(table.c.RunId, keys.with_for_update().scalar_subquery())
    await connection.execute(sa.delete(table).where(is_locked))


async def _find(connection: AsyncConnection, run_id: int, *, lock: bool = False) -> Row:
    query = sa.select(job_run).where(job_run.c.Id == run_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise UnknownRun(Localized("there is no run %(run)s", run=run_id))
    return row


async def reseal(
    connection: AsyncConnection,
    jobs: Sequence[str],
    sealed: Callable[[str, str], str],
    *,
    after: int,
    limit: int,
) -> tuple[int, int]:
    """Encrypt the stored arguments of some runs again.

    Args:
        connection: The transaction.
        jobs: The jobs to rewrite.
        sealed: Takes a job's name and the stored arguments; returns the arguments to store.
        after: Only runs with a larger id.
        limit: Maximum number of runs.

    Returns:
        The number of runs written and the id of the last run; 0 if no run was left.
    """
    wanted = sa.and_(job_run.c.JobName.in_(list(jobs)), job_run.c.ArgumentsJson.is_not(None))
    query = (
        sa.select(job_run.c.Id, job_run.c.JobName, job_run.c.ArgumentsJson)
        .where(wanted, job_run.c.Id > after)
        .order_by(job_run.c.Id)
        .limit(limit)
    )
    rows = (await connection.execute(query)).all()
    for row in rows:
        values = {"ArgumentsJson": sealed(row.JobName, row.ArgumentsJson)}
        await connection.execute(sa.update(job_run).where(job_run.c.Id == row.Id).values(values))
    return len(rows), rows[-1].Id if rows else 0
