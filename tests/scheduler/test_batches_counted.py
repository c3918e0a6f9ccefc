"""A batch counts its members by their outcomes, even when runs are pruned or deleted meanwhile; on SQLite and PostgreSQL."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa
from guarantee_rig import schedulers
from targcc_scheduler import job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.states import ACTIVE
from targcc_scheduler.db.tables import job_batch, job_run
from targcc_scheduler.features.batches import actions as batch_actions
from targcc_scheduler.kernel.runs import retention

ADDED = 2_500
"""Created in three steps."""


@job(unique="number")
async def book(number: int) -> None:
    """Member of a batch."""


@job()
async def report() -> None:
    """Callback of a batch."""


@pytest.fixture
async def scheduler(migrated_url):
    async with schedulers(migrated_url, __name__) as make:
        yield make()


async def batch_row(scheduler, batch):
    query = sa.select(job_batch).where(job_batch.c.Id == batch.batch_id)
    return (await scheduler.read(lambda db: db.execute(query))).one()


async def members(scheduler, batch, states):
    query = sa.select(job_run.c.Id).where(job_run.c.BatchId == batch.batch_id)
    run_ids = await scheduler.read(lambda db: db.scalars(query.where(job_run.c.State.in_(states))))
    return sorted(run_ids)


async def reports(scheduler):
    query = sa.select(job_run.c.State).where(job_run.c.JobName == "Report")
    return list(await scheduler.read(lambda db: db.scalars(query)))


async def end(scheduler, batch, many):
    """Settle the first ``many`` members with an old completion time."""
    ids = (await members(scheduler, batch, ACTIVE))[:many]
    for run_id in ids:
        await scheduler.cancel(run_id, by=SYSTEM)
    long_ago = scheduler.clock.now() - timedelta(days=400)
    past = sa.update(job_run).where(job_run.c.Id.in_(ids)).values(CompletedAt=long_ago)
    await scheduler.change(lambda db: db.execute(past))


@pytest.mark.slow
async def test_members_that_go_while_others_are_added_are_counted_once(scheduler, monkeypatch):
    async with scheduler.batch("month", on_finish=report) as batch:
        batch.enqueue_many(book, [{"number": -n} for n in range(1, 21)])
    await end(scheduler, batch, 5)
    waiting = await members(scheduler, batch, ACTIVE)
    create, others = batch_actions.operations.create_runs, []
    here = asyncio.get_running_loop()

    async def interrupted(call, runs):
        """Create some runs, then prune finished runs and delete waiting runs before the next step."""
        ids = await create(call, runs)
        if not others:
            going = [scheduler.prune(days=30, keep_last=0)]
            going += [scheduler.delete(run_id, by=SYSTEM) for run_id in waiting[:3]]
            others.extend(asyncio.run_coroutine_threadsafe(task, here) for task in going)
            if scheduler.store.dialect.many_writers:
                await asyncio.wrap_future(others[0])
        return ids

    monkeypatch.setattr(batch_actions.operations, "create_runs", interrupted)
    twice = [{"number": n} for n in range(ADDED)] + [{"number": 0}, {"number": -20}]
    ids = await scheduler.batches.add(batch.batch_id, book, twice)
    await asyncio.gather(*(asyncio.wrap_future(task) for task in others))
    left = await members(scheduler, batch, ACTIVE)
    assert (len(set(ids)), len(left)) == (ADDED + 1, ADDED + 12)
    row = await batch_row(scheduler, batch)
    assert (row.Pending, row.Total, row.State) == (ADDED + 12, ADDED + 17, "running")
    assert await reports(scheduler) == ["awaiting"]
    assert await scheduler.batches.cancel(batch.batch_id, by=SYSTEM) == len(left)
    row = await batch_row(scheduler, batch)
    assert (row.Pending, row.State) == (0, "cancelled")
    assert await reports(scheduler) == ["enqueued"]


async def test_a_run_that_two_remove_is_counted_by_one(scheduler):
    ids = [await scheduler.enqueue(book, number=n) for n in range(3)]

    async def remove(many):
        return await scheduler.change(lambda db: retention.remove(db, retention.RUNS, ids[:many]))

    assert (await remove(2), await remove(3)) == (2, 1)
