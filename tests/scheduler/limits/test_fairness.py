"""Fairness between the keys of a limit: a tenant with many runs delays no other tenant; measured with ``-m soak -s``."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from targcc_scheduler import Scheduler, Settings, job
from targcc_scheduler.project import current

BIG = 50_000
SMALL = [{"tenant": f"small {number % 20}"} for number in range(20 * 50)]
DONE: Counter[str] = Counter()


@job(limit={"key": "tenant", "running": 2})
class FairJob:
    async def execute(self, tenant: str) -> None:
        await asyncio.sleep(0.002)
        DONE[tenant] += 1


@pytest.fixture
async def scheduler(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scheduler]:
    DONE.clear()
    project = replace(current(), queues={"default": 20})
    monkeypatch.setattr("targcc_scheduler.project._configured", project)
    settings = Settings(database_url=migrated_url, migrate_on_start=False, keepalive=False)
    made = Scheduler(settings, jobs_package=__name__, notify=_ignore)
    yield made
    await made.stop()


async def _ignore(_event: object) -> None:
    """Send no alerts."""


async def _until_over(scheduler: Scheduler, ids: Sequence[int]) -> None:
    for run_id in ids:
        assert await scheduler.wait(run_id, 300) == "succeeded"


@pytest.mark.slow
async def test_a_tenant_with_many_runs_does_not_starve_those_that_come_later(scheduler):
    await scheduler.enqueue_many(FairJob, [{"tenant": "big"}] * 1_200)
    late = [{"tenant": f"small {number % 3}"} for number in range(12)]
    ids = await scheduler.enqueue_many(FairJob, late)
    await scheduler.start(schedule=False)
    await _until_over(scheduler, ids)
    assert DONE["big"] < 600


@pytest.mark.soak
async def test_small_tenants_take_about_as_long_beside_a_large_one(scheduler):
    await scheduler.start(schedule=False)

    async def small() -> float:
        began = time.perf_counter()
        ids = await scheduler.enqueue_many(FairJob, SMALL)
        await _until_over(scheduler, ids)
        return time.perf_counter() - began

    alone = [await small() for _ in range(2)]
    for _ in range(BIG // 10_000):
        await scheduler.enqueue_many(FairJob, [{"tenant": "big"}] * 10_000)
    beside = [await small() for _ in range(2)]
    ratio = min(beside) / min(alone)
    figures = [" ".join(f"{seconds:.1f}" for seconds in every) for every in (alone, beside)]
    summary = f"alone {figures[0]} s, beside {BIG:,} runs {figures[1]} s: {ratio:.2f}"
    print(f"\n{summary}")  # noqa: T201 - the figures are what it is run for
    assert ratio < 3
    assert 0 < DONE["big"] < BIG
