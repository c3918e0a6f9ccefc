"""Dependents of a rerun: after a retry, a backfill, or a failed retry; on SQLite and PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from guarantee_rig import schedulers
from targcc_scheduler import JobType, RunState, job
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.core.search_language import only
from targcc_scheduler.core.states import FINAL
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_link, job_run
from targcc_scheduler.features.triage.bulk_actions import Wish, backfill, begin, undo, work_off
from targcc_scheduler.kernel.node.pruner import prune
from targcc_scheduler.kernel.queries.run_search import RunFilter

DANA = Actor(ActorKind.MANUAL, "dana")
BROKEN: set[str] = set()


@job("0 2 * * *", retries=0)
async def load() -> None:
    """Fail while broken."""
    if "load" in BROKEN:
        raise ValueError("as told")


@job(after=[load], retries=0)
async def check() -> None:
    """Follow ``load``."""


@job(after=[check], retries=0)
async def publish() -> None:
    """Follow ``check``."""


@job(JobType.MANUAL, retries=0)
async def other(*, fails: str = "") -> None:
    """Fail while its argument is broken."""
    if fails in BROKEN:
        raise ValueError("as told")


@job(after=[load, other], retries=0)
async def both() -> None:
    """Wait for ``load`` and ``other``."""


@pytest.fixture(autouse=True)
def _broken():
    BROKEN.clear()


@pytest.fixture
async def scheduler(migrated_url):
    async with schedulers(migrated_url, __name__) as make:
        yield make()


async def _all(scheduler, query):
    async def read(connection):
        return (await connection.execute(query)).all()

    return await scheduler.read(read)


async def states(scheduler, name):
    query = sa.select(job_run.c.State).where(job_run.c.JobName == name).order_by(job_run.c.Id)
    return [row.State for row in await _all(scheduler, query)]


async def ids(scheduler, name):
    query = sa.select(job_run.c.Id).where(job_run.c.JobName == name).order_by(job_run.c.Id)
    return [row.Id for row in await _all(scheduler, query)]


async def parents(scheduler, child):
    query = sa.select(job_link.c.ParentId).where(job_link.c.ChildId == child)
    return sorted(row.ParentId for row in await _all(scheduler, query))


async def until_over(scheduler):
    """Wait until every run has finished, except runs that wait for others."""
    going = [str(state) for state in set(RunState) - FINAL - {RunState.AWAITING}]
    query = sa.select(job_run.c.Id).where(job_run.c.State.in_(going))
    async with asyncio.timeout(60):
        while await _all(scheduler, query):  # noqa: ASYNC110 - a node ends them
            await asyncio.sleep(0.02)


async def do(scheduler, action, name):
    wish = Wish(action=action, wanted=RunFilter(search=only(job=name)))
    bulk_id = await scheduler.operate(begin, None, wish, DANA)
    await work_off(scheduler, bulk_id)
    return bulk_id


@pytest.mark.slow
async def test_a_retry_brings_again_what_was_discarded_because_of_the_run(scheduler):
    BROKEN.add("load")
    failed = await scheduler.trigger(load, by=DANA)
    extra = await scheduler.schedule(other, delay="1s", after=failed)
    gone = await scheduler.enqueue(other, after=failed, on="failure")
    await scheduler.start(schedule=False)
    await until_over(scheduler)
    assert await states(scheduler, "Check") == await states(scheduler, "Publish") == ["cancelled"]
    BROKEN.clear()
    again = await scheduler.retry(failed, by=DANA)
    assert await scheduler.wait(again, 60) == RunState.SUCCEEDED
    await until_over(scheduler)
    assert await states(scheduler, "Check") == ["cancelled", "succeeded"]
    assert await states(scheduler, "Publish") == ["cancelled", "succeeded"]
    assert await parents(scheduler, (await ids(scheduler, "Check"))[1]) == [again]
    query = sa.select(job_run.c.RetryOf, job_run.c.State).where(job_run.c.JobName == "Other")
    rows = [tuple(row) for row in await _all(scheduler, query.order_by(job_run.c.Id))]
    assert rows == [(None, "cancelled"), (None, "succeeded"), (extra, "succeeded")]
    third = await scheduler.retry(again, by=DANA)  # a dependent that has begun does not run twice
    assert await scheduler.wait(third, 60) == RunState.SUCCEEDED
    assert len(await states(scheduler, "Check")) == 2
    assert gone not in await parents(scheduler, extra)


async def test_a_retry_of_a_child_of_two_waits_for_the_retries_of_both(scheduler):
    BROKEN.update({"load", "other"})
    load_id, other_id = await scheduler.trigger(load, by=DANA), await scheduler.enqueue(
        other, fails="other"
    )
    child = await scheduler.enqueue(publish, after=[load_id, other_id])
    await scheduler.start(schedule=False)
    await until_over(scheduler)
    BROKEN.clear()
    first = await scheduler.retry(load_id, by=DANA)
    assert await scheduler.wait(first, 60) == RunState.SUCCEEDED
    query = sa.select(job_run.c.Id).where(job_run.c.RetryOf == child)
    assert await _all(scheduler, query) == []  # ``other`` has failed: the run would be discarded
    second = await scheduler.retry(other_id, by=DANA)
    [(again,)] = await _all(scheduler, query)
    assert await scheduler.wait(again, 60) == RunState.SUCCEEDED
    assert await parents(scheduler, again) == [first, second]


@pytest.mark.slow
async def test_many_runs_are_done_again_with_what_hangs_on_them(scheduler):
    BROKEN.add("load")
    failed = [await scheduler.trigger(load, by=DANA) for _ in range(3)]
    waits = await scheduler.enqueue(publish, after=failed[0], otherwise="wait")
    await scheduler.start(schedule=False)
    await until_over(scheduler)
    BROKEN.clear()
    await do(scheduler, "retry", "Load")
    await until_over(scheduler)
    assert await states(scheduler, "Load") == ["failed"] * 3 + ["succeeded"] * 3
    assert await states(scheduler, "Check") == ["cancelled"] * 3 + ["succeeded"] * 3
    assert await scheduler.wait(waits, 60) == RunState.SUCCEEDED
    assert await states(scheduler, "Both") == ["cancelled", "awaiting"]
    [last] = (await ids(scheduler, "Load"))[-1:]
    assert last in await parents(scheduler, (await ids(scheduler, "Both"))[1])


async def test_backfill_brings_what_follows_unless_that_is_not_wanted(scheduler):
    job_ = scheduler.find(load)
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    days = [monday + timedelta(days=number) for number in range(4)]
    made = await scheduler.operate(backfill, None, job_, days[0], days[2], DANA)
    assert (made, await states(scheduler, "Check")) == (2, ["awaiting"] * 2)
    made = await scheduler.operate(backfill, None, job_, days[2], days[3], DANA, followers=False)
    assert (made, len(await states(scheduler, "Check"))) == (1, 2)
    await scheduler.start(schedule=False)
    await until_over(scheduler)
    assert await states(scheduler, "Publish") == ["succeeded"] * 2


async def test_a_missed_slot_that_is_run_after_all_is_followed(scheduler):
    await scheduler.trigger(check, by=DANA)
    [run] = await ids(scheduler, "Check")
    gone = sa.update(job_run).values(JobName="Load", State="missed", Ties=0)
    await scheduler.change(lambda db: db.execute(gone.where(job_run.c.Id == run)))
    await scheduler.retry(run, by=DANA)
    assert await states(scheduler, "Check") == ["awaiting"]
    await scheduler.change(lambda db: db.execute(gone.where(job_run.c.JobName == "Load")))
    await do(scheduler, "retry", "Load")
    assert len(await states(scheduler, "Check")) == 3


async def test_a_parent_is_kept_while_its_child_waits_for_a_retry(scheduler):
    BROKEN.add("load")
    failed, unneeded = [await scheduler.trigger(load, by=DANA) for _ in range(2)]
    child = await scheduler.enqueue(other, after=failed, otherwise="wait")
    await scheduler.start(schedule=False)
    await until_over(scheduler)
    later = scheduler.clock.now() + timedelta(days=400)
    await scheduler.call(prune(scheduler._host.store, before=later, keep_last=0))
    assert await ids(scheduler, "Load") == [failed]
    assert unneeded != failed
    BROKEN.clear()
    await scheduler.retry(failed, by=DANA)
    assert await scheduler.wait(child, 60) == RunState.SUCCEEDED
    await scheduler.call(prune(scheduler._host.store, before=later, keep_last=0))
    assert await ids(scheduler, "Load") == []


@pytest.mark.parametrize("how", ["deleted", "lost"])
async def test_who_waits_for_a_retry_of_a_run_that_is_gone_is_told(scheduler, how):
    [failed] = await scheduler.enqueue_many(other, [{}])
    child = await scheduler.enqueue(other, after=failed, otherwise="wait")
    kept = await scheduler.enqueue(other, after=failed, on="finish")
    await scheduler.cancel(failed, by=DANA)
    if how == "deleted":
        await scheduler.delete(failed, by=DANA)
    else:  # as a node of the previous release prunes
        await scheduler.change(
            lambda db: db.execute(sa.delete(job_run).where(job_run.c.Id == failed))
        )
        await scheduler.start(schedule=False)
        await scheduler.call(scheduler.node.maintenance.sweep_once())
    [row] = await _all(scheduler, sa.select(job_run).where(job_run.c.Id == child))
    assert (row.State, row.Message) == ("cancelled", row.Message)
    assert row.Message.startswith(f"discarded: run {failed}")
    assert row.Message.endswith("was deleted")
    [row] = await _all(scheduler, sa.select(job_run).where(job_run.c.Id == kept))
    assert row.State != "cancelled"


async def test_a_cancellation_that_is_taken_back_waits_again(scheduler):
    parent = await scheduler.trigger(load, by=DANA)
    bulk_id = await do(scheduler, "cancel", "Check")
    assert await states(scheduler, "Publish") == ["cancelled"]
    back = await scheduler.operate(undo, None, bulk_id, DANA)
    await work_off(scheduler, back)
    assert await states(scheduler, "Check") == ["cancelled", "awaiting"]
    assert await states(scheduler, "Publish") == ["cancelled", "awaiting"]
    assert await parents(scheduler, (await ids(scheduler, "Check"))[1]) == [parent]


async def test_one_run_may_stand_for_two_that_a_child_waits_for(scheduler):
    BROKEN.add("other")
    [first] = await scheduler.enqueue_many(other, [{"fails": "other"}])
    await scheduler.start(schedule=False)
    assert await scheduler.wait(first, 60) == RunState.FAILED
    second = await scheduler.retry(first, by=DANA)
    assert await scheduler.wait(second, 60) == RunState.FAILED
    child = await scheduler.enqueue(publish, after=[first, second], otherwise="wait")
    BROKEN.clear()
    third = await scheduler.retry(first, by=DANA)
    assert await scheduler.wait(child, 60) == RunState.SUCCEEDED
    assert await parents(scheduler, child) == [third]


@pytest.fixture
async def mine(scheduler):
    """Yield a connection of the application."""
    url = sa.make_url(scheduler.settings.database_url)
    engine = known.for_url(url).make_engine(url)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


@pytest.mark.slow
async def test_of_people_who_retry_a_run_at_once_one_brings_what_was_discarded(scheduler, mine):
    BROKEN.add("load")
    failed = await scheduler.trigger(load, by=DANA)
    await scheduler.start(schedule=False)
    await until_over(scheduler)
    await scheduler.pause_queue("default", by=DANA)
    await scheduler.retry(failed, by=DANA, connection=mine)
    others = [asyncio.create_task(scheduler.retry(failed, by=DANA)) for _ in range(2)]
    await asyncio.wait(others, timeout=0.3)  # every caller waits for the first transaction
    await mine.commit()
    await asyncio.gather(*others)
    assert await states(scheduler, "Load") == ["failed"] + ["enqueued"] * 3
    assert await states(scheduler, "Check") == ["cancelled", "awaiting"]
    assert await states(scheduler, "Publish") == ["cancelled", "awaiting"]


async def test_a_retry_that_is_rolled_back_leaves_all_as_it_was(scheduler, mine):
    BROKEN.add("load")
    failed = await scheduler.trigger(load, by=DANA)
    await scheduler.start(schedule=False)
    await until_over(scheduler)
    await scheduler.retry(failed, by=DANA, connection=mine)
    await mine.rollback()
    assert await states(scheduler, "Load") == ["failed"]
    assert await states(scheduler, "Check") == ["cancelled"]
