"""Due runs: staged rows carry the time of the write."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from engine_rig import nodes_on
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.kernel.runs.values import Identity
from targcc_scheduler.kernel.worker import claimer
from targcc_scheduler.kernel.worker.claimer import stage_due
from targcc_scheduler.kernel.worker.node_services import NodeServices
from targcc_scheduler.settings import Settings


@pytest.fixture
async def node(migrated_sqlite_url):
    """A node that does not claim runs, on a database with one writer at a time."""
    async with nodes_on(migrated_sqlite_url) as make:
        yield await make()


async def test_a_run_is_not_staged_before_it_was_written_though_staging_began_before(node):
    before = node.clock.now()
    time = SimpleNamespace(is_=before)
    clock = SimpleNamespace(now=lambda: time.is_)
    settings = Settings(_env_file=None)
    services = NodeServices(node.store, node.engine, clock, settings, lambda _event: None)
    async with node.store.write() as connection:
        staging = asyncio.create_task(stage_due(services, {}, Identity()))
        await asyncio.sleep(0)  # the staging waits for its turn to write
        time.is_ = before + timedelta(seconds=2)
        now = before + timedelta(seconds=1)
        run_id = await node.create(due=timedelta(seconds=1), now=now, connection=connection)
        is_due = sa.update(job_run).where(job_run.c.Id == run_id).values(DueAt=before)
        await connection.execute(is_due)
    await staging
    async with node.store.read() as connection:
        life = await connection.scalar(sa.select(job_run.c.LifeLog).where(job_run.c.Id == run_id))
    (created, first), (staged, second) = (line.split()[:2] for line in life.splitlines())
    assert (first, second) == ("scheduled", "enqueued")
    assert created < staged


@pytest.mark.parametrize("name", ["take", "wait"])
async def test_what_a_run_gets_that_asks_for_its_keys_has_the_date_at_which_it_is_written(
    node, name, monkeypatch
):
    time, dates = SimpleNamespace(is_=node.clock.now()), []
    clock = SimpleNamespace(now=lambda: time.is_)
    settings = Settings(_env_file=None)
    services = NodeServices(node.store, node.engine, clock, settings, lambda _event: None)

    async def written(_connection, _runs, now):
        dates.append(now)
        return [] if name == "take" else (0, [])

    monkeypatch.setattr(claimer.deferred_keys, name, written)
    ask = claimer._take_together if name == "take" else claimer._wait
    async with node.store.write():
        asks = asyncio.create_task(ask(services, {1: None}))
        await asyncio.sleep(0)  # the staging waits for its turn to write
        time.is_ += timedelta(seconds=1)
    await asks
    assert dates == [time.is_]
