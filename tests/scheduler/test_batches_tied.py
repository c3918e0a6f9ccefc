"""Batches that wait for runs or batches, and batches added to an existing batch; on SQLite and PostgreSQL."""

import asyncio

import pytest
import sqlalchemy as sa
from guarantee_rig import schedulers
from targcc_scheduler import Client, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.errors import BatchError, UnknownBatch, UnknownRun
from targcc_scheduler.db.tables import job_batch, job_run
from targcc_scheduler.features.batches import actions as batch_actions
from targcc_scheduler.kernel.engine import submit

BROKEN: set[int] = set()


@job(retries=0)
async def book(number: int) -> None:
    """Fail while its number is broken."""
    if number in BROKEN:
        raise ValueError("as told")


@job()
async def report() -> None:
    """Callback of a batch."""


@pytest.fixture
async def scheduler(migrated_url):
    BROKEN.clear()
    async with schedulers(migrated_url, __name__) as make:
        yield make()


async def rows(scheduler, query):
    async def read(connection):
        return (await connection.execute(query)).all()

    return await scheduler.read(read)


async def states(scheduler, batch):
    c = job_run.c
    query = sa.select(c.State).where(c.BatchId == batch.batch_id).order_by(c.Id)
    return [row.State for row in await rows(scheduler, query)]


async def until(scheduler, batch, state):
    query = sa.select(job_batch).where(job_batch.c.Id == batch.batch_id)
    async with asyncio.timeout(60):
        while True:
            [row] = await rows(scheduler, query)
            if row.State == state:
                return row
            await asyncio.sleep(0.02)


async def test_a_batch_waits_for_a_run_and_another_for_that_batch(scheduler):
    run = await scheduler.enqueue(book, number=0)
    async with scheduler.batch("first", after=run) as first:
        first.enqueue_many(book, [{"number": 1}, {"number": 2}])
        async with first.batch("inner") as inner:
            inner.enqueue(book, number=3)
    async with scheduler.batch("second", after=first, on="finish", on_success=report) as second:
        second.enqueue(book, number=4)
    assert await states(scheduler, first) == ["awaiting"] * 2
    assert await states(scheduler, inner) == await states(scheduler, second) == ["awaiting"]
    await scheduler.start(schedule=False)
    assert (await until(scheduler, second, "succeeded")).Total == 1
    lines = [row.LifeLog for row in await rows(scheduler, sa.select(job_run.c.LifeLog))]
    assert sum(f"enqueued after run {run}" in line for line in lines) == 3
    with pytest.raises(UnknownRun):
        async with scheduler.batch("none", after=999) as none:
            none.enqueue(book, number=1)


async def test_what_the_batch_waits_for_fails_and_is_done_again(scheduler):
    BROKEN.add(0)
    run = await scheduler.enqueue(book, number=0)
    async with scheduler.batch("month", after=run, on_success=report) as batch:
        batch.enqueue_many(book, [{"number": 1}, {"number": 2}])
    await scheduler.start(schedule=False)
    row = await until(scheduler, batch, "failed")
    assert (row.Failed, await states(scheduler, batch)) == (2, ["cancelled"] * 2)
    BROKEN.clear()
    await scheduler.retry(run, by=SYSTEM)
    row = await until(scheduler, batch, "succeeded")
    assert (row.Total, row.Failed, await states(scheduler, batch)) == (2, 0, ["succeeded"] * 2)
    [done] = await rows(scheduler, sa.select(job_run.c.Id).where(job_run.c.JobName == "Report"))
    assert await scheduler.wait(done.Id, 60) == "succeeded"


@pytest.mark.slow
async def test_no_member_waits_for_what_waits_for_its_batch(scheduler):
    async with scheduler.batch("year") as year:
        year.enqueue(book, number=1)
        async with year.batch("month") as month:
            month.enqueue(book, number=2)
    run = await scheduler.enqueue(report, after=year)
    later = await scheduler.enqueue(report, after=run, on="finish")
    async with scheduler.batch("after it", after=later) as after_it:
        after_it.enqueue(book, number=3)
    for waits_for in (year, month, run, later, after_it):
        with pytest.raises(BatchError, match="cannot wait for a batch that it is in"):
            async with scheduler.batch("circle", parent=month.batch_id, after=waits_for) as circle:
                circle.enqueue(book, number=4)
    first = await scheduler.enqueue(book, number=5)
    async with scheduler.batch("no circle", parent=month.batch_id, after=first) as member:
        member.enqueue(book, number=6)
    await scheduler.start(schedule=False)
    await until(scheduler, after_it, "succeeded")


@pytest.mark.slow
async def test_a_batch_becomes_a_member_of_one_that_goes_on(scheduler, monkeypatch):
    async with scheduler.batch("outer") as outer:
        outer.enqueue(book, number=1)
    plain = Client(scheduler)

    def add() -> None:
        with plain.batch("more", parent=outer.batch_id) as more:
            more.enqueue_many(book, [{"number": 2}, {"number": 3}])

    await asyncio.to_thread(add)
    row = await until(scheduler, outer, "running")
    assert (row.Total, row.Pending) == (2, 2)
    with pytest.raises(BatchError, match="cannot wait for a batch that it is in"):
        async with scheduler.batch("never", after=outer, parent=outer.batch_id + 1) as never:
            never.enqueue(book, number=4)
    await scheduler.start(schedule=False)
    await until(scheduler, outer, "succeeded")
    with pytest.raises(BatchError, match="nothing can be added"):
        async with scheduler.batch("late", parent=outer.batch_id) as late:
            late.enqueue(book, number=4)
    with pytest.raises(UnknownBatch):
        async with scheduler.batch("lost", parent=999):
            pass
    monkeypatch.setattr(batch_actions, "MOST_WAITING", 1)
    with pytest.raises(BatchError, match="a batch that waits has at most 1 runs"):
        async with scheduler.batch("many", after=outer) as many:
            many.enqueue_many(book, [{"number": 5}] * 2)
    monkeypatch.setattr(batch_actions, "MOST_WAITING", 2)
    monkeypatch.setattr(submit, "MOST_LINKS", 1)
    with pytest.raises(ValueError, match="2 runs that wait for 1 are more than 1 links"):
        async with scheduler.batch("many", after=outer) as many:
            many.enqueue_many(book, [{"number": 5}] * 2)
    [(batches,)] = await rows(scheduler, sa.select(sa.func.count()).select_from(job_batch))
    assert batches == 2
