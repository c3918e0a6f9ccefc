"""Update batches when runs end or are rerun: count the ended members, end a batch with its last member, and reopen a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import ACTIVE, FINAL, RunState
from ...db.dialects import known
from ...db.dialects.frequent import remove_some
from ...db.tables import job_batch, job_link, job_run
from ...kernel import dependencies
from ...kernel.runs.values import Effects, NewRun, Ready, RunId, Settlement, Tie, over
from .model import IS_BATCH, BatchState, get

_MOST_SWEPT = 500


@dataclass(frozen=True, slots=True)
class Change:
    """A change in the members of a batch.

    Args:
        over: Number of members that are now over or have left.
        failed: Number of members among ``over`` that did not succeed.
        gone: Number of members among ``over`` that have left the batch.
    """

    over: int
    failed: int = 0
    gone: int = 0

    def __add__(self, other: Change) -> Change:
        return Change(self.over + other.over, self.failed + other.failed, self.gone + other.gone)


async def on_settled(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Effects:
    """Count settled runs in their batches, and end batches with no pending member."""
    members = sorted(over(settled, Tie.BATCH))
    if not members:
        return Effects()
    failed = sa.case((job_run.c.State == RunState.SUCCEEDED, 0), else_=1)
    query = (
        sa.select(job_run.c.BatchId, sa.func.count(), sa.func.sum(failed))
        .where(known.of(connection).among(job_run.c.Id, members), job_run.c.BatchId.is_not(None))
        .where(job_run.c.Step.is_(None))  # the flow itself counts its steps
        .group_by(job_run.c.BatchId)
    )
    rows = await connection.execute(query)
    return await count(connection, {row[0]: Change(row[1], int(row[2])) for row in rows}, now)


async def rejoin(connection: AsyncConnection, runs: Sequence[NewRun]) -> list[NewRun]:
    """Move each new run into the batch of the run it replaces, and reopen the batch. Return the new runs with batch ids.

    Call this before the new runs are inserted, in the same transaction. If a run is rerun twice, the first rerun gets the batch.
    """
    replaced = [run.retry_of for run in runs if run.retry_of is not None]
    if not replaced:
        return list(runs)
    batches = sa.select(job_batch.c.Id).where(IS_BATCH)
    among = known.of(connection).among(job_run.c.Id, replaced)
    of_batches = (among, job_run.c.BatchId.in_(batches))
    query = sa.select(job_run.c.Id, job_run.c.BatchId, job_run.c.State).where(*of_batches)
    rows = await connection.execute(query.order_by(job_run.c.Id).with_for_update())
    places = {row.Id: row for row in rows}
    if not places:
        return list(runs)
    leaving = known.of(connection).among(job_run.c.Id, list(places))
    await connection.execute(sa.update(job_run).where(leaving).values(BatchId=None))
    pending = Counter(row.BatchId for row in places.values())
    failed = Counter(row.BatchId for row in places.values() if row.State != RunState.SUCCEEDED)
    while pending:
        batch_id = max(pending)
        back, bad = pending.pop(batch_id), failed.pop(batch_id, 0)
        closed = await _reopen(connection, batch_id, back, bad)
        if closed is not None and closed.ParentId is not None:
            pending[closed.ParentId] += 1
            failed[closed.ParentId] += closed.State != BatchState.SUCCEEDED
    return [
        (
            replace(run, batch_id=places[run.retry_of].BatchId, ties=run.ties | Tie.BATCH)
            if run.retry_of in places
            else run
        )
        for run in runs
    ]


async def _reopen(connection: AsyncConnection, batch_id: int, back: int, bad: int) -> Any | None:
    """Count members as pending again. Return the row if the batch was over until now, otherwise ``None``."""
    row = await get(connection, batch_id, lock=True)
    c = job_batch.c
    values: dict[sa.Column[Any], Any] = {c.Pending: c.Pending + back, c.Failed: c.Failed - bad}
    if row.State != BatchState.RUNNING:
        values |= {c.State: BatchState.RUNNING, c.CompletedAt: None, c.CancelledBy: None}
        waits = sa.select(job_run.c.Id).where(job_run.c.State == RunState.AWAITING)
        unheard = sa.update(job_link).where(
            job_link.c.ParentKind == dependencies.BATCH,
            job_link.c.ParentId == batch_id,
            job_link.c.ChildId.in_(waits),
        )
        await connection.execute(unheard.values(Outcome=None))
    await connection.execute(sa.update(job_batch).where(c.Id == batch_id).values(values))
    return row if row.State != BatchState.RUNNING else None


async def stood_for(
    connection: AsyncConnection, runs: Sequence[NewRun], ids: Sequence[RunId], now: datetime
) -> Effects:
    """Remove members that were not created because existing runs take their place, such as runs with the same unique key."""
    changes: dict[int, Change] = {}
    for run, run_id in zip(runs, ids, strict=True):
        if run.batch_id is not None and run_id.existing:
            changes[run.batch_id] = changes.get(run.batch_id, Change(0)) + Change(1, gone=1)
    return await count(connection, changes, now)


async def removed(connection: AsyncConnection, rows: Sequence[Any], now: datetime) -> Effects:
    """Remove deleted runs from their batches, as if they had not been added. Runs that were over still count as members."""
    left = [row for row in rows if row.BatchId and row.Step is None and row.State not in FINAL]
    leaving = Counter(row.BatchId for row in left)
    return await count(
        connection, {key: Change(many, gone=many) for key, many in leaving.items()}, now
    )


async def count(
    connection: AsyncConnection, changes: Mapping[int, Change], now: datetime
) -> Effects:
    """Apply changes to batches, and end each batch with no pending member. An ended inner batch counts in its outer batch."""
    waiting = dict(changes)
    ready: list[Ready] = []
    settled: list[Settlement] = []
    c = job_batch.c
    while waiting:
        batch_id = max(waiting)  # inner batches first: all transactions lock in this order
        change = waiting.pop(batch_id)
        counted = (
            sa.update(job_batch)
            .where(c.Id == batch_id, IS_BATCH)
            .values(
                Pending=c.Pending - change.over,
                Failed=c.Failed + change.failed,
                Total=c.Total - change.gone,
            )
            .returning(c.Pending, c.Failed, c.ParentId, c.State, c.CancelledBy)
        )
        row = (await connection.execute(counted)).one_or_none()
        if row is None or row.Pending > 0 or row.State != BatchState.RUNNING:
            continue
        state = _final(row.Failed, row.CancelledBy)
        over = sa.update(job_batch).where(c.Id == batch_id)
        await connection.execute(over.values({c.State: state, c.CompletedAt: now}))
        came = await dependencies.resolve(
            connection, dependencies.BATCH, {batch_id: str(state)}, now
        )
        ready += came.ready
        settled += came.settled
        if row.ParentId is not None:
            outer_change = Change(1, int(state != BatchState.SUCCEEDED))
            waiting[row.ParentId] = waiting.get(row.ParentId, Change(0)) + outer_change
    return Effects(ready=ready, settled=settled)


def _final(failed: int, cancelled_by: str | None) -> BatchState:
    if not failed:
        return BatchState.SUCCEEDED
    return BatchState.FAILED if cancelled_by is None else BatchState.CANCELLED


_inner = job_batch.alias("inner_batch")
_GOES_ON = sa.or_(
    sa.exists().where(job_run.c.BatchId == job_batch.c.Id, job_run.c.State.in_(sorted(ACTIVE))),
    sa.exists().where(_inner.c.ParentId == job_batch.c.Id, _inner.c.State == BatchState.RUNNING),
)
_STANDS = sa.select(job_batch.c.Id).where(
    job_batch.c.State == BatchState.RUNNING, IS_BATCH, ~_GOES_ON
)
_LOST = (
    sa.select(job_run)
    .where(job_run.c.State == RunState.AWAITING)
    .where(
        job_run.c.Id.in_(
            sa.select(job_link.c.ChildId).where(
                job_link.c.ParentKind == dependencies.BATCH,
                ~sa.exists().where(job_batch.c.Id == job_link.c.ParentId),
            )
        )
    )
    .order_by(job_run.c.Id)
)


async def any_missed(connection: AsyncConnection) -> bool:
    """Return whether a running batch has no active member, or a run waits for a deleted batch."""
    return (
        await connection.scalar(_STANDS.limit(1)) is not None
        or await connection.scalar(_LOST.limit(1)) is not None
    )


async def sweep(connection: AsyncConnection, now: datetime) -> Effects:
    """End running batches that have no active member, and discard runs that wait for deleted batches.

    Nodes of an earlier release end and remove runs without counting them.
    """
    c = job_batch.c
    found = await connection.scalars(_STANDS.order_by(c.Id.desc()).limit(_MOST_SWEPT))
    ids = found.all()
    changes = {}
    for batch_id in ids:  # check with the row locked: a concurrent add has committed or waits
        lock = sa.select(c.Pending, c.Failed).where(c.Id == batch_id).with_for_update()
        row = (await connection.execute(lock)).one()
        if await connection.scalar(_STANDS.where(c.Id == batch_id)) is None:
            continue
        bad = sa.select(sa.func.count()).where(
            job_run.c.BatchId == batch_id,
            job_run.c.State.in_(sorted(FINAL - {RunState.SUCCEEDED})),
        )
        bad_inner = sa.select(sa.func.count()).where(
            _inner.c.ParentId == batch_id, _inner.c.State != BatchState.SUCCEEDED
        )
        failed = int(await connection.scalar(bad) or 0) + int(
            await connection.scalar(bad_inner) or 0
        )
        changes[batch_id] = Change(row.Pending, max(failed - row.Failed, 0))
    ended_ = await count(connection, changes, now)
    lost = await _discard_lost(connection, now)
    return Effects(ready=ended_.ready, settled=[*ended_.settled, *lost])


async def _discard_lost(connection: AsyncConnection, now: datetime) -> list[Settlement]:
    """Cancel runs that wait for pruned batches: pruned batches cannot be retried."""
    rows = list(await connection.execute(_LOST.limit(_MOST_SWEPT).with_for_update()))
    return await dependencies.discard(
        connection, rows, await dependencies.links_of(connection, [row.Id for row in rows]), now
    )


async def prune(connection: AsyncConnection, before: datetime, _: datetime, most: int) -> int:
    """Delete up to ``most`` batches and flows that ended before an instant and have no runs and no inner batches; return their number."""
    c, inner = job_batch.c, job_batch.alias("inner_batch")
    empty = sa.and_(
        ~sa.exists().where(job_run.c.BatchId == c.Id),
        ~sa.exists().where(inner.c.ParentId == c.Id),
    )
    old = c.State != BatchState.RUNNING, c.CompletedAt < before, empty
    return await remove_some(connection, job_batch, *old, most=most)
