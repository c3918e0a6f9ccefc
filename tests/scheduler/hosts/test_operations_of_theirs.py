"""Every operation within the application's transaction, async and sync, on runs with limits, unique keys, dependents and a batch."""

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from targcc_scheduler import job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_run


@job(limit={"key": "tenant", "running": 1}, unique="number", retries=0, expires_in="1h")
async def limited(tenant: str, number: int) -> None:
    """Run once per tenant at a time."""


@job(after=["Limited"])
async def follower() -> None:
    """Run after ``Limited``."""


async def operate(scheduler, connection):
    """Create, cancel, retry and delete runs; return the ids that ``judge`` checks."""
    given = [{"tenant": "a", "number": number} for number in range(5)]
    ids = await scheduler.enqueue_many(limited, given, connection=connection)
    later = await scheduler.enqueue(follower, after=ids[4], connection=connection)
    async with scheduler.batch("together", session=connection) as batch:
        batch.enqueue(limited, tenant="a", number=7)
    await scheduler.cancel(ids[0], by=SYSTEM, connection=connection)
    await scheduler.delete(ids[1], by=SYSTEM, connection=connection)
    again = await scheduler.retry(ids[0], by=SYSTEM, connection=connection)
    await scheduler.cancel(ids[4], by=SYSTEM, connection=connection)
    await scheduler.pause_queue("default", by=SYSTEM, connection=connection)
    await scheduler.resume_queue("default", by=SYSTEM, connection=connection)
    return ids, later, again


async def states(scheduler):
    rows = await scheduler.read(lambda db: db.execute(sa.select(job_run.c.Id, job_run.c.State)))
    return dict(tuple(row) for row in rows)


async def judge(scheduler, ids, later, again):
    """Check the results: runs that waited for capacity ran, and the cancelled run cancelled its dependents."""
    states_by_id = await states(scheduler)
    assert states_by_id[ids[0]] == states_by_id[ids[4]] == states_by_id[later] == "cancelled"
    assert ids[1] not in states_by_id
    await scheduler.start(schedule=False)
    for run_id in (ids[2], ids[3], again):
        assert await scheduler.wait(run_id, 60) == "succeeded"


async def asks(scheduler):
    """Create runs that wait for capacity before the application's transaction begins."""
    terms = [{"tenant": "a", "number": number} for number in range(10, 13)]
    ids = await scheduler.enqueue_many(limited, terms)
    await scheduler.start(schedule=False)
    for run_id in ids:
        await scheduler.wait(run_id, 60)
    await scheduler.stop()


@pytest.mark.slow
async def test_on_a_plain_connection(not_started):
    await asks(not_started)
    engine = sa.create_engine(plain_url(not_started))
    with engine.begin() as connection:
        done = await operate(not_started, connection)
    await judge(not_started, *done)
    engine.dispose()


@pytest.mark.sqlite  # it makes an engine of an application, whose driver on SQL Server has no async form
@pytest.mark.slow
async def test_on_an_async_connection(not_started):
    await asks(not_started)
    url = sa.make_url(not_started.settings.database_url)
    engine = create_async_engine(known.for_url(url).url(url, is_async=True))
    async with engine.begin() as connection:
        done = await operate(not_started, connection)
    await judge(not_started, *done)
    await engine.dispose()


def plain_url(scheduler):
    url = sa.make_url(scheduler.settings.database_url)
    return known.for_url(url).url(url, is_async=False)
