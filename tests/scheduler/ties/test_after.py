"""Runs that wait for other runs, on SQLite and PostgreSQL."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa
from guarantee_rig import schedulers
from targcc_scheduler import JobContext, JobResult, JobType, RunState, job
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.core.errors import UnknownRun
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_link, job_run
from targcc_scheduler.kernel import dependencies, on_settled
from targcc_scheduler.kernel.engine.submit import hand_on

DANA = Actor(ActorKind.MANUAL, "dana")


@job(JobType.MANUAL, retries=0)
async def parent_work(*, fails: bool = False) -> JobResult:
    """Succeed or fail as the argument says."""
    if fails:
        raise ValueError("as told")
    return JobResult.success("done").with_metadata(orders=7)


@job(JobType.MANUAL)
async def child_work(ctx: JobContext) -> str:
    """Return the state and results of the parent run."""
    first = ctx.parents["ParentWork"]
    assert ctx.parent is not None
    return f"{ctx.parent.run_id} {first.state} {dict(first.metadata)}"


@pytest.fixture
async def scheduler(migrated_url):
    async with schedulers(migrated_url, __name__) as make:
        yield make()


async def row_of(scheduler, run_id):
    query = sa.select(job_run).where(job_run.c.Id == run_id)
    return await scheduler.read(lambda db: _one(db, query))


async def _one(connection, query):
    return (await connection.execute(query)).one()


async def states(scheduler, *ids):
    return [(await row_of(scheduler, run_id)).State for run_id in ids]


@pytest.mark.slow
async def test_a_child_waits_and_goes_as_its_parents_end(scheduler):
    good = await scheduler.enqueue(parent_work)
    bad = await scheduler.enqueue(parent_work, fails=True)
    goes = await scheduler.enqueue(child_work, after=good)
    dropped = await scheduler.enqueue(child_work, after=[good, bad])
    below = await scheduler.enqueue(child_work, after=dropped)
    any_of = await scheduler.enqueue(child_work, after=[bad, good], quorum="any")
    on_failure = await scheduler.enqueue(child_work, after=bad, on="failure")
    finish = await scheduler.enqueue(child_work, after=[good, bad, dropped], on="finish")
    stays = await scheduler.enqueue(child_work, after=bad, otherwise="wait")
    every = (goes, dropped, below, any_of, on_failure, finish, stays)
    assert set(await states(scheduler, *every)) == {"awaiting"}
    await scheduler.start(schedule=False)
    for run_id in (goes, any_of, on_failure, finish):
        assert await scheduler.wait(run_id, 60) == RunState.SUCCEEDED
    assert await scheduler.wait(below, 60) == RunState.CANCELLED
    assert (await row_of(scheduler, dropped)).Message == f"discarded: run {bad} failed"
    assert (await row_of(scheduler, below)).Message.endswith(f"run {dropped} was cancelled")
    message = (await row_of(scheduler, goes)).Message
    assert message == f"{good} succeeded {{'orders': 7}}"
    assert (await row_of(scheduler, stays)).State == "awaiting"
    again = await scheduler.retry(bad, by=DANA)  # the retry fails too, and the child keeps waiting
    assert await scheduler.wait(again, 60) == RunState.FAILED
    links = await scheduler.read(
        lambda db: _one(db, sa.select(job_link).where(job_link.c.ChildId == stays))
    )
    assert (links.ParentId, links.Outcome) == (again, "failed")


async def test_parents_that_are_over_cancelled_or_deleted(scheduler):
    first, second = [await scheduler.enqueue(parent_work) for _ in range(2)]
    after_first = await scheduler.enqueue(child_work, after=first)
    after_second = await scheduler.schedule(child_work, delay="1h", after=second, on="finish")
    assert await scheduler.cancel(first, by=DANA) == RunState.CANCELLED
    assert await states(scheduler, after_first) == ["cancelled"]
    late = await scheduler.enqueue(child_work, after=first)
    eager = await scheduler.enqueue(child_work, after=first, on="finish")
    assert await states(scheduler, late, eager) == ["cancelled", "enqueued"]
    before = await row_of(scheduler, after_second)
    await scheduler.delete(second, by=DANA)
    gone = await row_of(scheduler, after_second)
    assert gone.State == "scheduled"
    assert gone.DueAt - before.DueAt >= timedelta(0)
    with pytest.raises(UnknownRun, match="there is no run 999, so that nothing can wait for it"):
        await scheduler.enqueue(child_work, after=[first, 999])
    with pytest.raises(ValueError, match="on= is success, failure or finish"):
        await scheduler.enqueue(child_work, after=first, on="end")


async def test_a_retry_that_a_person_starts_takes_the_place_of_its_parent(scheduler):
    [parent] = await scheduler.enqueue_many(parent_work, [{}])
    [child] = await scheduler.enqueue_many(child_work, [{}], after=parent, otherwise="wait")
    await scheduler.cancel(parent, by=DANA)
    assert await states(scheduler, child) == ["awaiting"]
    again = await scheduler.retry(parent, by=DANA)
    await scheduler.start(schedule=False)
    assert await scheduler.wait(child, 60) == RunState.SUCCEEDED
    assert (await row_of(scheduler, child)).Message.startswith(f"{again} succeeded")


async def test_the_parent_of_the_callers_own_transaction_and_what_an_older_node_ends(scheduler):
    url = sa.make_url(scheduler.settings.database_url)
    engine = known.for_url(url).make_engine(url)
    async with engine.connect() as session:
        parent = await scheduler.enqueue(parent_work, session=session)
        child = await scheduler.enqueue(child_work, session=session, after=parent)
        await session.commit()
        silent = sa.update(job_run).where(job_run.c.Id == parent)
        await session.execute(silent.values(State="succeeded"))  # as an older release settles
        await session.commit()
    await engine.dispose()
    assert await states(scheduler, child) == ["awaiting"]

    async def sweep(connection):
        now = scheduler.clock.now()
        sweeps = await on_settled.missed(connection, now)
        assert sweeps == [dependencies.sweep]
        settled = await on_settled.sweep(connection, sweeps, now)
        assert await on_settled.missed(connection, now) == []
        await hand_on(scheduler._host.engine, connection, settled, scheduler.clock.now())

    await scheduler.change(sweep)
    assert await states(scheduler, child) == ["enqueued"]


@pytest.mark.slow
async def test_parents_that_end_at_once_let_their_child_go_once(scheduler):
    await scheduler.start(schedule=False)

    async def family() -> tuple[list[int], int]:
        parents = [await scheduler.enqueue(parent_work) for _ in range(3)]
        return parents, await scheduler.enqueue(child_work, after=parents)

    families = await asyncio.gather(*(family() for _ in range(20)))
    for _, child in families:
        assert await scheduler.wait(child, 60) == RunState.SUCCEEDED
    for _, child in families:
        lines = (await row_of(scheduler, child)).LifeLog.splitlines()
        assert sum(" running" in line for line in lines) == 1
