"""Race between a run that starts to wait for a key and the end of the key's holder. PostgreSQL only: SQLite has one writer."""

import asyncio

import keyed_flows_rig
import pytest
import sqlalchemy as sa
from guarantee_rig import schedulers
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import deferred_keys
from targcc_scheduler.kernel.unique import keys_of

WAITING = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


@pytest.fixture(autouse=True)
def _flows(_apart, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.project._configured", keyed_flows_rig.project())


@pytest.fixture
async def idle(migrated_postgresql_url: str):
    """A scheduler without a worker, and its store."""
    store = Store(migrated_postgresql_url)
    async with schedulers(migrated_postgresql_url, "keyed_flows_rig") as make:
        scheduler = make()
        await scheduler.start(work=False, schedule=False)
        yield scheduler, store
    await store.dispose()


async def asking_runs(scheduler, store: Store):
    """Return the runs that request their keys, with the keys."""
    async with store.read() as connection:
        rows = await deferred_keys.look(connection, scheduler.clock.now(), "")
    jobs = scheduler.definitions
    return {
        row.Id: deferred_keys.asked(row, keys_of(jobs[row.JobName], row.ArgumentsJson))
        for row in rows
    }


async def test_none_waits_for_a_run_that_ends_meanwhile(idle):
    scheduler, store = idle
    first = await scheduler.enqueue("Alone", key="a")
    await scheduler.start_flow("AloneFlow")
    runs, now = await asking_runs(scheduler, store), scheduler.clock.now()

    async def wait() -> int:
        async with store.write() as connection:
            assert await deferred_keys.take(connection, runs, now) == []
        async with store.write() as connection:
            return (await deferred_keys.wait(connection, runs, now))[0]

    async with store.write() as ending:
        over = sa.update(job_run).where(job_run.c.Id == first)
        await ending.execute(over.values(State="cancelled", CompletedAt=now))
        waits = asyncio.create_task(wait())
        async with asyncio.timeout(30):
            while not waits.done():
                if await scheduler.read(lambda db: db.scalar(WAITING)):
                    break
                await asyncio.sleep(0.01)
    assert await waits == 0
    async with store.write() as connection:
        [gone] = await deferred_keys.take(connection, runs, now)
    assert [gone.run_id] == list(runs)


async def test_a_run_that_is_cancelled_meanwhile_leaves_its_key(idle):
    scheduler, store = idle
    await scheduler.start_flow("AloneFlow")
    runs, now = await asking_runs(scheduler, store), scheduler.clock.now()
    [run_id] = runs
    async with store.write() as cancelling:
        await cancelling.execute(
            sa.select(job_run.c.Id).where(job_run.c.Id == run_id).with_for_update()
        )
        async with store.write() as connection:  # the run waits for no holder
            assert await deferred_keys.take(connection, runs, now) == []
    again = await scheduler.enqueue("Alone", key="a")
    assert not again.existing
