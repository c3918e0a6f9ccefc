"""Chains of jobs with one overall state, and the chain of a single run."""

import pytest
import sqlalchemy as sa
from guarantee_rig import DANA, schedulers
from sqlalchemy import event
from targcc_scheduler import JobType, job
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.kernel.jobs import chains as job_chains
from targcc_scheduler.kernel.queries.chains import chains, lineage
from targcc_scheduler.kernel.queries.runs import get_run
from targcc_scheduler.project import current


@job(JobType.MANUAL)
async def import_orders() -> None: ...


@job(JobType.MANUAL)
async def import_prices() -> None: ...


@job(after=[import_orders])
async def check_orders() -> None: ...


@job(after=[check_orders, import_prices])
async def report_orders() -> None: ...


@job(JobType.MANUAL)
async def apart() -> None: ...


LINE = [["ImportOrders"], ["ImportPrices", "CheckOrders"], ["ReportOrders"]]


@pytest.fixture
async def scheduler(migrated_url):
    async with schedulers(migrated_url, __name__) as make:
        yield make()


async def stands(scheduler):
    """Return the state of the only chain, its current step, and the run of each step."""
    definitions = scheduler.definitions.values()
    [chain] = await scheduler.read(lambda db: chains(db, definitions))
    assert [[step.job for step in level] for level in chain.levels] == LINE
    runs = {step.job: step.run.id for step in chain.steps if step.run is not None}
    return chain.state, chain.at and chain.at.job, runs


async def becomes(scheduler, run_id, state):
    change = sa.update(job_run).where(job_run.c.Id == run_id).values(State=state)
    await scheduler.change(lambda db: db.execute(change))


def test_jobs_hang_together_by_what_they_follow():
    marked = (report_orders, import_orders, apart, import_prices, check_orders)
    jobs = [definition.__job__.complete(current()) for definition in marked]
    [chain] = job_chains.chains(jobs)
    names = [definition.name for definition in chain]
    assert names == ["ImportOrders", "ImportPrices", "CheckOrders", "ReportOrders"]
    assert job_chains.chains(jobs[1:4]) == ()  # the dependency is invisible without the first job


async def test_a_chain_is_as_its_worst_step(scheduler):
    assert await stands(scheduler) == (None, None, {})
    old = await scheduler.trigger("ImportOrders", by=DANA)
    await scheduler.cancel(old, by=DANA)
    assert (await stands(scheduler))[:2] == ("cancelled", "ImportOrders")
    first = await scheduler.trigger("ImportOrders", by=DANA)
    state, at, runs = await stands(scheduler)
    assert (state, at) == ("enqueued", "ImportOrders")
    assert runs == {"ImportOrders": first, "CheckOrders": first + 1, "ReportOrders": first + 2}
    await becomes(scheduler, first, "succeeded")
    assert (await stands(scheduler))[:2] == ("awaiting", "CheckOrders")
    await becomes(scheduler, first + 1, "failed")
    prices = await scheduler.trigger("ImportPrices", by=DANA)
    await becomes(scheduler, prices, "running")
    assert (await stands(scheduler))[:2] == ("failed", "CheckOrders")
    again = await scheduler.retry(first + 1, by=DANA)
    assert (await stands(scheduler))[2]["CheckOrders"] == again
    for run_id in (again, prices, first + 2):
        await becomes(scheduler, run_id, "succeeded")
    assert (await stands(scheduler))[0] == "succeeded"


async def test_the_chains_are_read_in_as_many_statements_however_many_runs_there_are(scheduler):
    first = await scheduler.trigger("ImportOrders", by=DANA)
    definitions, statements = list(scheduler.definitions.values()), []

    async def counted():
        def note(_connection, _cursor, statement, *_):
            statements.append(statement)

        event.listen(sa.Engine, "before_cursor_execute", note)
        await scheduler.read(lambda db: chains(db, definitions))
        event.remove(sa.Engine, "before_cursor_execute", note)
        count = sum("job" in statement.lower() for statement in statements)
        statements.clear()
        return count

    few = await counted()
    for _ in range(5):
        await scheduler.trigger("ImportOrders", by=DANA)
    await scheduler.cancel(first, by=DANA)
    await scheduler.retry(first, by=DANA)
    assert await counted() == few <= 4


async def test_a_run_shows_its_whole_chain(scheduler):
    first = await scheduler.trigger("ImportOrders", by=DANA)
    prices = await scheduler.trigger("ImportPrices", by=DANA)
    last = await scheduler.enqueue(apart, after=first + 2, on="finish")
    alone = await scheduler.enqueue(apart)

    async def shown(run_id):
        chain = await scheduler.read(lambda db: _line(db, run_id))
        return (
            [[entry.id for entry in level] for level in chain.levels] if chain is not None else []
        )

    for run_id in (first + 1, first + 2):
        levels = await shown(run_id)
        assert [entry for level in levels for entry in level if entry != prices] == [
            *(first, first + 1, first + 2),
            last,
        ]
    assert prices in [entry for level in await shown(last) for entry in level]
    assert await shown(alone) == []


async def _line(db, run_id):
    run = await get_run(db, run_id)
    assert run is not None
    return await lineage(db, run)
