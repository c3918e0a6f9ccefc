"""Fairness between the keys of a limit: a tenant with many runs holds up no other; measured with ``-m soak -s``."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from targcc_scheduler import Scheduler, Settings, job
from targcc_scheduler.storage.tables import job_run
from targcc_scheduler.storage.ties import limits

BIG = 50_000
SMALL = [{"tenant": f"small {number % 20}"} for number in range(20 * 50)]
DONE: Counter[str] = Counter()


@job(limit={"key": "tenant", "running": 2})
class FairJob:
    async def execute(self, tenant: str) -> None:
        await asyncio.sleep(0.002)
        DONE[tenant] += 1


@pytest.fixture
async def scheduler(migrated_url: str) -> AsyncIterator[Scheduler]:
    DONE.clear()
    settings = Settings(
        database_url=migrated_url, migrate_on_start=False, queues={"default": 20}, keepalive=False
    )
    made = Scheduler(settings, jobs_package=__name__, notify=_ignore)
    yield made
    await made.stop()


async def _ignore(_event: object) -> None:
    """Nobody is told."""


async def _until_over(scheduler: Scheduler, first: int, last: int) -> None:
    left = sa.select(job_run.c.Id).where(
        job_run.c.Id.between(first, last), job_run.c.CompletedAt.is_(None)
    )
    async with asyncio.timeout(600):
        while (
            await scheduler.read(lambda db: db.scalar(left.limit(1))) is not None
        ):  # noqa: ASYNC110 - the database says it
            await asyncio.sleep(0.05)


@pytest.mark.soak
async def test_small_tenants_take_about_as_long_beside_a_large_one(scheduler):
    await scheduler.start(schedule=False)

    async def small() -> float:
        began = time.perf_counter()
        ids = await scheduler.enqueue_many(FairJob, SMALL)
        await _until_over(scheduler, ids[0], ids[-1])
        return time.perf_counter() - began

    alone = [await small() for _ in range(3)]
    for _ in range(BIG // 10_000):
        await scheduler.enqueue_many(FairJob, [{"tenant": "big"}] * 10_000)
    beside = [await small() for _ in range(3)]
    ratio = sorted(beside)[1] / sorted(alone)[1]
    print(
        f"\nalone {alone}, beside {BIG:,} {beside}: {ratio:.2f}; of the large one {DONE['big']}"
    )  # noqa: T201 - the figures are what it is run for
