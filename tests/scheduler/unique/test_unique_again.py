"""Retries and backfills of unique jobs, single and in bulk; on SQLite and PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from guarantee_rig import schedulers
from targcc_scheduler import RunState, job
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.core.search_language import only
from targcc_scheduler.core.states import FINAL
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.features.triage.bulk_actions import Wish, backfill, begin, look, work_off
from targcc_scheduler.kernel.queries.run_search import RunFilter

DANA = Actor(ActorKind.MANUAL, "dana")
BROKEN: set[int] = set()


@job(unique="customer", retries=0)
async def send_invoice(customer: int) -> None:
    """Fail while the customer is broken."""
    if customer in BROKEN:
        raise ValueError("as told")


@job("0 2 * * *", unique=True, retries=0)
async def nightly() -> None:
    """Use one key for all slots."""


@pytest.fixture
async def scheduler(migrated_url):
    BROKEN.clear()
    async with schedulers(migrated_url, __name__) as make:
        yield make()


async def rows(scheduler, name):
    async def read(connection):
        query = sa.select(job_run).where(job_run.c.JobName == name).order_by(job_run.c.Id)
        return (await connection.execute(query)).all()

    return await scheduler.read(read)


async def until_over(scheduler, name):
    async with asyncio.timeout(60):
        while True:
            if FINAL.issuperset(row.State for row in await rows(scheduler, name)):
                return
            await asyncio.sleep(0.02)


async def do(scheduler, action, name):
    wish = Wish(action=action, wanted=RunFilter(search=only(job=name, state=RunState.FAILED)))
    bulk_id = await scheduler.operate(begin, None, wish, DANA)
    return await work_off(scheduler, bulk_id)


async def test_of_many_that_are_retried_those_with_one_key_are_one_run(scheduler):
    BROKEN.update({1, 2})
    await scheduler.start(schedule=False)
    for customer in (1, 1, 2):
        await scheduler.wait(await scheduler.enqueue(send_invoice, customer=customer), 60)
    await scheduler.pause_queue("default", by=DANA)
    kept_id = await scheduler.enqueue(send_invoice, customer=2)
    done = await do(scheduler, "retry", "SendInvoice")
    assert (done.state, done.done) == ("done", 3)
    runs = await rows(scheduler, "SendInvoice")
    failed, new = runs[:3], runs[3:]
    assert [(row.Id, row.State) for row in new] == [
        (kept_id, "enqueued"),
        (kept_id + 1, "enqueued"),
    ]
    stands = [f"retried as run {run_id}" for run_id in (kept_id + 1, kept_id + 1, kept_id)]
    assert [row.Handling for row in failed] == stands
    BROKEN.clear()
    await scheduler.resume_queue("default", by=DANA)
    await until_over(scheduler, "SendInvoice")
    assert {row.State for row in (await rows(scheduler, "SendInvoice"))[3:]} == {"succeeded"}
    assert await scheduler.enqueue(send_invoice, customer=1) > kept_id + 1  # the key is free


async def test_slots_of_the_past_with_one_key_are_made_one_at_a_time(scheduler):
    job_ = scheduler.find(nightly)
    since = datetime(2026, 3, 2, tzinfo=UTC)
    until = since + timedelta(days=3)
    assert await scheduler.operate(backfill, None, job_, since, until, DANA) == 1
    assert await scheduler.operate(backfill, None, job_, since, until, DANA) == 0
    assert [row.State for row in await rows(scheduler, "Nightly")] == ["enqueued"]
    await scheduler.start(schedule=False)
    await until_over(scheduler, "Nightly")
    now = scheduler.clock.now()
    result = await scheduler.read(lambda db: look(db, job_, since, until, now))
    assert len(result.missing) == 2
    assert await scheduler.operate(backfill, None, job_, since, until, DANA) == 1
    await until_over(scheduler, "Nightly")
    assert [row.ScheduledFor.day for row in await rows(scheduler, "Nightly")] == [2, 3]
