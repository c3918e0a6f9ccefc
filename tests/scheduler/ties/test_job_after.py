"""Jobs that follow other jobs by their option ``after``."""

import pytest
import sqlalchemy as sa
from guarantee_rig import schedulers
from targcc_scheduler import JobContext, JobError, JobType, RunState, Scheduler, Settings, job
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.fake import RECORDING
from targcc_scheduler.kernel.jobs.chains import ParentRun, circle
from targcc_scheduler.testing import run_inline, run_job

DANA = Actor(ActorKind.MANUAL, "dana")


@job(JobType.MANUAL)
async def import_orders() -> str:
    """Import orders."""
    return "imported"


@job(JobType.MANUAL)
async def import_prices() -> str:
    """Import prices."""
    return "imported"


@job(after=[import_orders])
async def check_orders(ctx: JobContext) -> str:
    """Check what was imported."""
    return ctx.parents["ImportOrders"].message or ""


@job(after=[check_orders, "ImportPrices"])
async def report_orders(ctx: JobContext) -> str:
    """Report once both imports are done."""
    return " ".join(f"{run.job} {run.run_id}" for run in ctx.parents.runs)


@pytest.fixture
def off():
    """A scheduler in mode off, as in an application's tests; runs execute on request only."""
    RECORDING.clear()
    yield Scheduler(Settings(mode="off"), jobs_package=__name__)
    RECORDING.clear()


@pytest.fixture
async def scheduler(migrated_url):
    async with schedulers(migrated_url, __name__) as make:
        yield make()


async def _runs(scheduler):
    query = sa.select(job_run).order_by(job_run.c.Id)
    rows = await scheduler.read(lambda db: _all(db, query))
    return [(row.JobName, row.State, row.Message) for row in rows]


async def _all(connection, query):
    return (await connection.execute(query)).all()


async def test_a_run_of_a_job_brings_those_of_the_jobs_that_follow_it(scheduler):
    first = await scheduler.trigger("ImportOrders", by=DANA)
    assert [row[:2] for row in await _runs(scheduler)] == [
        ("ImportOrders", "enqueued"),
        ("CheckOrders", "awaiting"),
        ("ReportOrders", "awaiting"),
    ]
    prices = await scheduler.enqueue(import_prices)
    newer = await scheduler.enqueue(import_prices)  # no report is waiting: a new report begins
    await scheduler.start(schedule=False)
    assert await scheduler.wait(first + 2, 60) == RunState.SUCCEEDED
    runs = await _runs(scheduler)
    assert runs[1] == ("CheckOrders", "succeeded", "imported")
    assert runs[2][2] == f"CheckOrders {first + 1} ImportPrices {prices}"
    assert newer == prices + 1
    assert [row[:2] for row in runs[5:]] == [("ReportOrders", "awaiting")]


async def test_the_end_of_a_parent_goes_down_the_chain(scheduler):
    first = await scheduler.trigger("ImportOrders", by=DANA)
    await scheduler.cancel(first, by=DANA)
    assert [row[1:] for row in await _runs(scheduler)][1:] == [
        ("cancelled", f"discarded: run {first} was cancelled"),
        ("cancelled", f"discarded: run {first + 1} was cancelled"),
    ]


def test_a_circle_is_named_with_its_path():
    assert circle("A", {"A": ["C"], "B": ["A"], "C": ["B"]}) == ["A", "B", "C", "A"]
    assert circle("A", {"A": ["B"], "B": ["C"], "C": ["B"]}) is None
    assert circle("A", {"A": ["A"]}) == ["A", "A"]
    long = {str(number): [str(number + 1)] for number in range(2_000)}
    assert circle("0", long) is None
    assert len(circle("0", long | {"2000": ["0"]})) == 2_002


def test_a_job_follows_others_or_has_a_schedule():
    with pytest.raises(JobError, match="after other jobs or by a schedule"):
        job("0 2 * * *", after=[import_orders])(report_orders)


async def test_a_test_gives_a_job_its_parents():
    outcome = await run_job(check_orders, parents=[ParentRun("ImportOrders", 12, message="fine")])
    assert outcome.result.message == "fine"


async def test_inline_the_jobs_that_follow_run_in_order_and_see_their_parents(off):
    RECORDING.perform = lambda job, arguments, run: run_inline(job, arguments, run, off)
    first = await off.enqueue(import_orders)
    prices = await off.enqueue(import_prices)
    again = await off.enqueue(check_orders, after=first)
    late = await off.schedule(import_orders, delay="1h")
    waits = await off.enqueue(check_orders, after=late)
    runs = [
        (
            recorded_run.job,
            str(recorded_run.state),
            recorded_run.result and recorded_run.result.message,
        )
        for recorded_run in RECORDING.runs
    ]
    assert runs == [
        ("ImportOrders", "succeeded", "imported"),
        ("CheckOrders", "succeeded", "imported"),
        ("ImportPrices", "succeeded", "imported"),
        ("ReportOrders", "succeeded", f"CheckOrders {first + 1} ImportPrices {prices}"),
        ("CheckOrders", "succeeded", "imported"),
        ("ImportOrders", "scheduled", None),
        ("CheckOrders", "awaiting", None),
    ]
    assert (again, late, waits) == (5, 6, 7)


async def test_where_nothing_runs_no_job_that_follows_is_recorded(off):
    await off.enqueue(import_orders)
    assert [run.job for run in RECORDING.runs] == ["ImportOrders"]
