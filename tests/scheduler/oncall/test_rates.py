"""A rate is a number within bounds. An operation that cannot be executed ends as failed, and the next operation continues."""

import asyncio
from datetime import UTC, datetime

import pytest
from targcc_scheduler import JobContext, JobResult, job
from targcc_scheduler.core.actor import Actor
from targcc_scheduler.core.errors import BulkError, JobError
from targcc_scheduler.core.search_language import only
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.features.triage import bulk as triage_bulk
from targcc_scheduler.features.triage import bulk_actions, bulk_queries
from targcc_scheduler.features.triage.bulk_actions import Wish, backfill
from targcc_scheduler.kernel.queries.run_search import RunFilter

DANA = Actor("CLI", "dana")
NOW = datetime(2026, 11, 25, tzinfo=UTC)
FAILED = RunFilter(search=only(state=RunState.FAILED))
RATES = ["nan", "inf", "-inf", "1e400", "1e-320", "-1", "0", "1e-9", "1e12"]


@job("0 2 * * *", retries=0)
class ImportJob:
    """Run at night."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("done")


@pytest.fixture
async def scheduler(make_scheduler):
    made = make_scheduler()
    await made.start(work=False, schedule=False)
    return made


@pytest.fixture
async def worker(make_scheduler):
    made = make_scheduler()
    await made.start(schedule=False)
    return made


async def add_failed(scheduler, number=3):
    row = {"JobName": "Import", "JobType": "Manual", "State": "failed", "Queue": "default"}
    times = dict.fromkeys(("DueAt", "CreatedAt", "StartedAt", "CompletedAt"), NOW)
    new = [{**row, **times, "Attempt": 1, "TriggeredBy": "System"}] * number
    await scheduler.change(lambda db: db.execute(job_run.insert(), new))


def stored(scheduler, options, place=3):
    """Store a retry with these options, as an earlier release did without checking them."""
    values = {
        "Action": "retry",
        "FilterJson": bulk_queries.filter_json(FAILED),
        "OptionsJson": options,
        "Total": 3,
        "Ceiling": place,
        "Actor": str(DANA),
        "StartedAt": NOW,
    }
    return scheduler.change(lambda db: triage_bulk.create(db, **values))


async def ended(scheduler, bulk_id):
    return await scheduler.read(lambda db: bulk_queries.get(db, bulk_id))


@pytest.mark.parametrize("rate", RATES)
async def test_a_rate_outside_its_bounds_is_refused_and_nothing_is_stored(scheduler, rate):
    await add_failed(scheduler)
    wish = Wish(action="retry", wanted=FAILED, rate=float(rate))
    with pytest.raises(BulkError, match="a rate is"):
        await scheduler.operate(bulk_actions.begin, None, wish, DANA)
    nightly = scheduler.find("Import")
    since, until = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)
    with pytest.raises(BulkError, match="a rate is"):
        await scheduler.operate(backfill, None, nightly, since, until, DANA, rate=float(rate))
    assert await scheduler.read(bulk_queries.latest) == ()
    counts = await scheduler.read(lambda db: bulk_queries.find(db, RunFilter()))
    assert dict(counts.states) == {"failed": 3}


@pytest.mark.parametrize("priority", [2**31, -(2**31) - 1, 10**30])
async def test_a_priority_that_no_row_can_hold_is_refused(scheduler, priority):
    await add_failed(scheduler)
    wish = Wish(action="priority", wanted=FAILED, priority=priority)
    with pytest.raises(BulkError, match="a priority is"):
        await scheduler.operate(bulk_actions.begin, None, wish, DANA)


async def test_enqueue_and_the_decorator_refuse_it_too(scheduler):
    with pytest.raises(ValueError, match="a priority is"):
        await scheduler.enqueue(ImportJob, priority=2**31)
    with pytest.raises(JobError, match="a priority is"):
        job(priority=10**30)(type("LoudJob", (), {"execute": lambda _self, _ctx: None}))


async def test_a_rate_at_which_the_last_run_would_never_be_due_is_refused(scheduler):
    await add_failed(scheduler, 1000)
    wish = Wish(action="retry", wanted=FAILED, rate=0.0001)
    with pytest.raises(BulkError, match="after more than ten years"):
        await scheduler.operate(bulk_actions.begin, None, wish, DANA)


@pytest.mark.parametrize("rate", ["NaN", "1e-320", "1e-9", "-Infinity", '"fast"'])
async def test_a_stored_operation_that_fails_ends_as_failed_and_the_next_one_is_done(worker, rate):
    await add_failed(worker)
    broken = await stored(worker, f'{{"rate": {rate}}}')
    wish = Wish(action="retry", wanted=FAILED, rate=600)
    well = await worker.operate(bulk_actions.begin, None, wish, DANA)
    await bulk_actions.work_off(worker, well)
    assert (await ended(worker, well)).done == 3
    failed = await bulk_actions.work_off(worker, broken)
    assert (failed.state, failed.done) == ("failed", 0)
    assert failed.message
    assert failed.ended_at is not None


async def test_the_servers_go_on_with_the_next_operation(scheduler, worker):
    """No client follows either operation: the nodes execute both."""
    await add_failed(scheduler)
    broken = await stored(scheduler, '{"rate": NaN}')
    well = await scheduler.operate(
        bulk_actions.begin, None, Wish(action="retry", wanted=FAILED), DANA
    )

    states = set()
    async with asyncio.timeout(30):
        while states != {"failed", "done"}:
            states = {(await ended(worker, bulk_id)).state for bulk_id in (broken, well)}
