"""Callers request the same few keys concurrently, partly in transactions that roll back, while runs begin and end."""

import asyncio
import contextlib
import multiprocessing
import random
from collections import Counter

import pytest
import sqlalchemy as sa
from targcc_scheduler import Project, RunStateError, Scheduler, Settings, configure, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.states import ACTIVE
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_run

KEYS = 4
IN_HAND = Counter[int]()
"""Number of running runs per key in this process."""
MOST = Counter[int]()


@job(unique="key")
class Alone:
    async def execute(self, key: int) -> None:
        IN_HAND[key] += 1
        MOST[key] = max(MOST[key], IN_HAND[key])
        await asyncio.sleep(0.001)
        IN_HAND[key] -= 1


def make_scheduler(url: str) -> Scheduler:
    settings = Settings(database_url=url, migrate_on_start=False)
    return Scheduler(settings, jobs_package=__name__, notify=_ignore)


async def _ignore(_event: object) -> None:
    """Send no alerts."""


def ask_in_process(url: str, seed: int, count: int) -> None:
    configure(Project(name="races", package="races"))
    asyncio.run(ask_alone(url, seed, count))


async def ask_alone(url: str, seed: int, count: int) -> None:
    scheduler = make_scheduler(url)
    try:
        await ask(scheduler, seed, count)
    finally:
        await scheduler.stop()


async def ask(scheduler: Scheduler, seed: int, count: int) -> None:
    """Enqueue single runs, many runs, and runs in rolled-back transactions; cancel some runs."""
    dice = random.Random(seed)
    url = sa.make_url(scheduler.settings.database_url)
    engine = known.for_url(url).make_engine(url)
    for number in range(count):
        key, how = dice.randrange(KEYS), dice.random()
        if how < 0.1:
            many = [{"key": dice.randrange(KEYS)} for _ in range(5)]
            await scheduler.enqueue_many(Alone, many)
        elif how < 0.25:
            async with engine.connect() as connection:
                await scheduler.enqueue(Alone, key=key, connection=connection)
                await (connection.commit() if dice.random() < 0.5 else connection.rollback())
        else:
            name = f"call {number % 20} {key}" if how > 0.9 else None
            run_id = await scheduler.enqueue(Alone, key=key, idempotency_key=name)
            if dice.random() < 0.2:
                with contextlib.suppress(RunStateError):  # the run has finished
                    await scheduler.cancel(run_id, by=SYSTEM)
    await engine.dispose()


async def watch(scheduler: Scheduler, asking: asyncio.Future) -> int:
    """Check repeatedly that no key has two unfinished runs; return the number of runs once all have finished."""
    c = job_run.c
    double = (
        sa.select(c.UniqueKey)
        .where(c.State.in_(sorted(ACTIVE)))
        .group_by(c.UniqueKey)
        .having(sa.func.count() > 1)
    )
    active = sa.select(sa.exists().where(c.State.in_(sorted(ACTIVE))))
    while True:
        done = asking.done()
        assert (await scheduler.read(lambda db: db.execute(double))).all() == []
        if done and not await scheduler.read(lambda db: db.scalar(active)):
            break
        await asyncio.sleep(0.02)
    await asking
    assert max(MOST.values()) == 1
    return await scheduler.read(lambda db: db.scalar(sa.select(sa.func.count(c.Id))))


@pytest.mark.slow
async def test_callers_at_once_never_make_two_runs_with_a_key(migrated_url):
    scheduler = make_scheduler(migrated_url)
    await scheduler.start(schedule=False)
    asking = asyncio.gather(*(ask(scheduler, seed, 25) for seed in range(4)))
    assert await watch(scheduler, asking) >= KEYS
    await scheduler.stop()


@pytest.mark.soak
async def test_processes_at_once_never_make_two_runs_with_a_key(migrated_url):
    scheduler = make_scheduler(migrated_url)
    await scheduler.start(schedule=False)
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=ask_in_process, args=(migrated_url, seed, 500)) for seed in range(8)
    ]
    for process in processes:
        process.start()
    asking = asyncio.gather(*(asyncio.to_thread(process.join) for process in processes))
    count = await watch(scheduler, asking)
    await scheduler.stop()
    assert [process.exitcode for process in processes] == [0] * 8
    assert KEYS < count < 8 * 500
