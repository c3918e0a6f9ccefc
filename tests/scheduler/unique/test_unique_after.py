"""Unique runs, idempotent calls and expiring runs that wait for other runs; on SQLite and PostgreSQL."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from limits_tools import let_some_have_room
from targcc_scheduler import RunState, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.errors import IdempotencyError, UnknownRun
from targcc_scheduler.db.tables import job_batch, job_link, job_run


@job(retries=0)
class Import:
    async def execute(self) -> None:
        """Do nothing."""


@job(unique="customer", expires_in="10m")
class Report:
    async def execute(self, customer: int) -> None:
        """Do nothing."""


@job(unique="whole", after=[Import], expires_in="10m")
class Summary:
    async def execute(self, whole: str = "all") -> None:
        """Do nothing."""


@job(unique="number", retries=0)
class Fails:
    async def execute(self, number: int) -> None:
        raise ValueError(f"{number}, as told")


@job(limit={"key": "tenant", "running": 1}, expires_in="1h")
class Roomy:
    async def execute(self, number: int, tenant: str = "one") -> None:
        """Do nothing."""


async def _runs(scheduler, job_name):
    query = sa.select(job_run).where(job_run.c.JobName == job_name).order_by(job_run.c.Id)
    return (await scheduler.read(lambda db: db.execute(query))).all()


async def _parents(scheduler, child):
    query = sa.select(job_link.c.ParentId).where(job_link.c.ChildId == child)
    return sorted((await scheduler.read(lambda db: db.execute(query))).scalars())


async def test_a_run_that_was_there_already_waits_for_nothing_more(scheduler):
    first, second = await scheduler.enqueue_many(Import, [{}, {}])
    waits = await scheduler.enqueue(Report, customer=1, after=first)
    goes = await scheduler.enqueue(Report, customer=2, idempotency_key="two")
    again = await scheduler.enqueue(Report, customer=1, after=second)
    named = await scheduler.enqueue(Report, customer=2, idempotency_key="two", after=second)
    both = await scheduler.enqueue_many(
        Report, [{"customer": 1}, {"customer": 3}, {"customer": 3}], after=second
    )
    assert [(again, again.existing), (named, named.existing)] == [(waits, True), (goes, True)]
    assert [run_id.existing for run_id in both] == [True, False, True]
    assert await _parents(scheduler, waits) == [first]
    assert await _parents(scheduler, goes) == []
    assert await _parents(scheduler, both[1]) == [second]
    states = {row.Id: row.State for row in await _runs(scheduler, "Report")}
    assert states == {waits: "awaiting", goes: "enqueued", both[1]: "awaiting"}


async def test_the_run_of_a_job_that_follows_another_is_unique_too(scheduler):
    imports = await scheduler.enqueue_many(Import, [{}, {}])
    [summary] = await _runs(scheduler, "Summary")
    assert (summary.State, summary.UniqueKey is None) == ("awaiting", False)
    assert await _parents(scheduler, summary.Id) == imports[:1]


async def test_a_run_expires_from_when_it_may_go(scheduler):
    parent = await scheduler.enqueue(Import)
    child = await scheduler.enqueue(Report, customer=1, after=parent, otherwise="wait")
    past = scheduler.clock.now() - timedelta(days=1)
    await scheduler.change(
        lambda db: db.execute(
            sa.update(job_run)
            .where(job_run.c.JobName.in_(["Report", "Summary"]))
            .values(DueAt=past, ExpiresAt=past + timedelta(minutes=10))
        )
    )
    await scheduler.start(schedule=False)
    assert await scheduler.wait(child, 60) == RunState.SUCCEEDED
    [summary] = await _runs(scheduler, "Summary")
    [report] = await _runs(scheduler, "Report")
    assert await scheduler.wait(summary.Id, 60) == RunState.SUCCEEDED
    assert report.ExpiresAt - report.DueAt == timedelta(minutes=10)


async def test_nothing_ends_a_run_that_waits_for_others_because_of_its_time(scheduler):
    await scheduler.start(schedule=False)
    await scheduler.pause_queue("default", by=SYSTEM)
    parent = await scheduler.enqueue(Import)
    child = await scheduler.enqueue(Report, customer=1, after=parent, otherwise="wait")
    past = scheduler.clock.now() - timedelta(days=1)
    await scheduler.change(lambda db: db.execute(sa.update(job_run).values(ExpiresAt=past)))
    await scheduler.call(scheduler.node.maintenance.sweep_once())
    [row] = await _runs(scheduler, "Report")
    assert (row.Id, row.State) == (child, "awaiting")
    [imported] = await _runs(scheduler, "Import")
    assert (imported.State, imported.Message[:7]) == ("cancelled", "expired")


async def test_a_run_with_the_key_takes_the_place_of_one_that_is_retried(scheduler):
    await scheduler.start(schedule=False)
    failed = await scheduler.enqueue(Fails, number=1)
    child = await scheduler.enqueue(Report, customer=1, after=failed, otherwise="wait")
    assert await scheduler.wait(failed, 60) == RunState.FAILED
    await scheduler.pause_queue("default", by=SYSTEM)
    other = await scheduler.enqueue(Fails, number=1)
    again = await scheduler.retry(failed, by=SYSTEM)
    assert (again, again.existing) == (other, True)
    assert await _parents(scheduler, child) == [other]
    await scheduler.resume_queue("default", by=SYSTEM)
    assert await scheduler.wait(other, 60) == RunState.FAILED
    [row] = await _runs(scheduler, "Report")
    assert row.State == "awaiting"
    outcome = sa.select(job_link.c.Outcome).where(job_link.c.ChildId == child)
    assert await scheduler.read(lambda db: db.scalar(outcome)) == "failed"


async def test_a_batch_does_not_wait_for_runs_that_others_stand_for(scheduler):
    first = await scheduler.enqueue(Fails, number=1)
    async with scheduler.batch("reports") as batch:
        batch.enqueue_many(Fails, [{"number": 1}, {"number": 2}, {"number": 2}])
    await scheduler.start(schedule=False)
    await scheduler.wait(first, 60)
    [_, second] = await _runs(scheduler, "Fails")
    await scheduler.wait(second.Id, 60)
    assert await _batch(scheduler, batch) == ("failed", 1, 0)
    await scheduler.pause_queue("default", by=SYSTEM)
    other = await scheduler.enqueue(Fails, number=2)
    assert await scheduler.retry(second.Id, by=SYSTEM) == other
    assert (await _batch(scheduler, batch))[1:] == (0, 0)


async def _batch(scheduler, batch):
    c = job_batch.c
    query = sa.select(c.State, c.Total, c.Pending).where(c.Id == batch.batch_id)
    return tuple((await scheduler.read(lambda db: db.execute(query))).one())


async def test_a_run_that_waits_for_room_expires_and_frees_it(scheduler):
    await scheduler.start(schedule=False)
    await scheduler.pause_queue("default", by=SYSTEM)
    first, second, _ = await scheduler.enqueue_many(Roomy, [{"number": n} for n in range(3)])
    await let_some_have_room(scheduler, "Roomy")
    assert await _states(scheduler) == ["enqueued", "awaiting", "awaiting"]
    past = scheduler.clock.now() - timedelta(days=1)
    condition = job_run.c.Id.in_([first, second])
    await scheduler.change(
        lambda db: db.execute(sa.update(job_run).where(condition).values(ExpiresAt=past))
    )
    await scheduler.call(scheduler.node.maintenance.sweep_once())
    assert await _states(scheduler) == ["cancelled", "cancelled", "enqueued"]


async def _states(scheduler):
    return [row.State for row in await _runs(scheduler, "Roomy")]


async def test_a_call_that_is_repeated_has_its_first_answer_when_its_parent_is_gone(scheduler):
    parent = await scheduler.enqueue(Import)
    first = await scheduler.enqueue(
        Report, customer=1, idempotency_key="one", after=parent, on="finish"
    )
    await scheduler.delete(parent, by=SYSTEM)
    again = await scheduler.enqueue(
        Report, customer=1, idempotency_key="one", after=parent, on="finish"
    )
    assert (again, again.existing) == (first, True)
    with pytest.raises(IdempotencyError):
        await scheduler.enqueue(Report, customer=2, idempotency_key="one", after=parent)
    with pytest.raises(UnknownRun):
        await scheduler.enqueue(Report, customer=2, idempotency_key="two", after=parent)
    assert len(await _runs(scheduler, "Report")) == 1
