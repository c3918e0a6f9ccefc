"""Runs that are cancelled instead of starting late."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from targcc_scheduler import job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.db.tables import job_run, job_stat
from targcc_scheduler.kernel.node.maintenance import Maintenance

BEGUN = []


@job(expires_in="10m")
class Quote:
    async def execute(self, number: int) -> None:
        BEGUN.append(number)


@job(concurrency=1, expires_in="10m")
class Single:
    async def execute(self, number: int) -> None:
        BEGUN.append(number)


@pytest.fixture(autouse=True)
def _nothing_begun():
    BEGUN.clear()


async def _run(scheduler, run_id):
    query = sa.select(job_run).where(job_run.c.Id == run_id)
    return (await scheduler.read(lambda db: db.execute(query))).one()


async def _set(scheduler, ids, **values):
    where = job_run.c.Id.in_(ids)
    await scheduler.change(
        lambda db: db.execute(sa.update(job_run).where(where).values(LifeLog="", **values))
    )


async def test_no_worker_gets_a_run_whose_time_is_over(scheduler):
    now = scheduler.clock.now()
    late = await scheduler.enqueue_many(Quote, [{"number": n} for n in range(60)])
    late += await scheduler.enqueue_many(Single, [{"number": n} for n in range(3)])
    begun = await scheduler.enqueue(Quote, number=100)
    await _set(scheduler, [*late, begun], ExpiresAt=now - timedelta(seconds=5))
    await _set(scheduler, [begun], State="retrying", Attempt=1)
    fresh = [
        await scheduler.enqueue(Quote, number=101, expires_in=timedelta(hours=1)),
        await scheduler.enqueue(Single, number=102),
    ]
    await scheduler.start(schedule=False)
    for run_id in [*fresh, begun]:
        assert await scheduler.wait(run_id, 60) == "succeeded"
    for run_id in late:
        assert await scheduler.wait(run_id, 60) == "cancelled"
    assert sorted(BEGUN) == [100, 101, 102]
    run = await _run(scheduler, late[0])
    assert run.Message.startswith("expired: it was to start before ")
    assert run.CompletedAt is not None
    assert run.LifeLog.rstrip().endswith(run.Message)
    counted = sa.select(sa.func.sum(job_stat.c.Count)).where(job_stat.c.Outcome == "cancelled")
    assert await scheduler.read(lambda db: db.scalar(counted)) == len(late)


async def test_runs_that_no_claim_meets_expire_too(scheduler):
    await scheduler.start(schedule=False)
    await scheduler.pause_queue("default", by=SYSTEM)
    now = scheduler.clock.now()
    late = await scheduler.schedule(Quote, delay="1m", number=1, expires_in="1s")
    run = await _run(scheduler, late)
    assert run.ExpiresAt - run.DueAt == timedelta(seconds=1)
    begun, waits = await scheduler.enqueue_many(Quote, [{"number": 2}, {"number": 3}])
    await _set(scheduler, [late, begun], ExpiresAt=now - timedelta(seconds=5))
    await _set(scheduler, [begun], State="retrying", Attempt=1, DueAt=now + timedelta(hours=1))
    rounds: Maintenance = scheduler._host.node.maintenance
    await scheduler.call(rounds.sweep_once())
    states = [(await _run(scheduler, run_id)).State for run_id in (late, begun, waits)]
    assert states == ["cancelled", "retrying", "enqueued"]
    assert BEGUN == []


async def test_an_expiry_is_a_duration_above_0(scheduler):
    with pytest.raises(ValueError, match="a duration above 0"):
        await scheduler.enqueue(Quote, number=1, expires_in=timedelta())
