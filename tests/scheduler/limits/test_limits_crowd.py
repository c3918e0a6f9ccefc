"""Nodes claim and settle runs of a few keys concurrently: no key exceeds its limit, and no run is left behind."""

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest
import sqlalchemy as sa
from targcc_scheduler import Scheduler, Settings, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.errors import RunStateError
from targcc_scheduler.db.tables import job_limit
from targcc_scheduler.project import current

RUNNING: Counter[str] = Counter()
MOST: Counter[str] = Counter()


@job(limit={"key": "tenant", "running": 2}, retries=1, backoff="0s")
class CrowdedJob:
    async def execute(self, tenant: str, weight: int) -> None:
        RUNNING[tenant] += 1
        MOST[tenant] = max(MOST[tenant], RUNNING[tenant])
        try:
            await asyncio.sleep(weight / 1000)
            if weight == 3:
                raise ValueError("it is tried again")
        finally:
            RUNNING[tenant] -= 1


@pytest.fixture
async def schedulers(migrated_postgresql_url, monkeypatch):
    RUNNING.clear()
    MOST.clear()
    project = replace(current(), queues={"default": 8})
    monkeypatch.setattr("targcc_scheduler.project._configured", project)
    settings = Settings(
        database_url=migrated_postgresql_url, migrate_on_start=False, keepalive=False
    )
    made = [Scheduler(settings, jobs_package=__name__, notify=_ignore) for _ in range(3)]
    yield made
    for scheduler in made:
        await scheduler.stop()


async def _ignore(_event: object) -> None:
    """Send no alerts."""


async def test_no_key_has_more_than_its_limit_among_nodes_and_nobody_is_left_behind(schedulers):
    chance = random.Random(7)
    for scheduler in schedulers:
        await scheduler.start(schedule=False)
    ids = []
    for _ in range(20):  # some runs get full keys, and some get keys without waiting runs
        given = [{"tenant": chance.choice("abcdefgh"), "weight": n % 4} for n in range(20)]
        made = await chance.choice(schedulers).enqueue_many(CrowdedJob, given)
        ids += made
        try:
            await chance.choice(schedulers).cancel(chance.choice(made), by=SYSTEM)
        except RunStateError:  # the run has finished
            continue
    ended = Counter([await schedulers[0].wait(run_id, 60) for run_id in ids])
    assert ended.keys() <= {"succeeded", "failed", "cancelled"}
    assert ended["failed"] <= 100 <= ended["failed"] + ended["cancelled"]
    assert max(MOST.values()) == 2, MOST
    awaited = sa.select(sa.func.count()).where(job_limit.c.IsAwaited)
    count = await schedulers[0].read(lambda db: db.scalar(awaited))
    assert count <= len(MOST)  # the last settlement of a key may leave the mark
