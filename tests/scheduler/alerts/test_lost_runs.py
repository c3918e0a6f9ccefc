"""A run that fails because its worker was lost alerts like any other failure, on both databases."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from rt_tools import QUICK, until
from targcc_scheduler import JobType, Scheduler, Settings, job
from targcc_scheduler.db.tables import job_run

GONE = "far:1:mars:gone"
"""Id of a node that no longer exists."""


@job(JobType.MANUAL)
async def lost_work() -> None:
    """Job whose worker is lost before each run begins."""


@pytest.fixture
def told():
    return []


@pytest.fixture
async def scheduler(migrated_url, told):
    async def notify(event):
        told.append(event)

    settings = Settings(_env_file=None, database_url=migrated_url, **QUICK)
    made = Scheduler(settings, jobs_package=__name__, notify=notify)
    yield made
    await made.stop()


async def _running_on_a_node_that_is_gone(scheduler, **values):
    """Create a run held by a vanished node; return the run id."""
    run_id = await scheduler.enqueue("LostWork")
    running = {"State": "running", "ServerId": GONE, "Attempt": 1, "StartedAt": datetime.now(UTC)}
    change = sa.update(job_run).where(job_run.c.Id == run_id).values(running | values)

    async def work():
        async with scheduler.store.write() as connection:
            await connection.execute(change)

    await scheduler.call(work())
    return run_id


async def test_a_run_that_has_lost_its_third_worker_alerts_as_a_failure(scheduler, told):
    run_id = await _running_on_a_node_that_is_gone(scheduler, LostWorkers=2, Attempt=3)
    await scheduler.start(schedule=False)
    (event,) = await until(lambda: told)
    assert (event.kind, event.run_id, event.attempt) == ("failure", run_id, 3)
    assert event.definition.name == "LostWork"
    assert event.message == "three workers were lost while it ran"
    assert event.server == "far"


async def test_a_node_that_takes_no_runs_alerts_about_those_it_rescues(scheduler, told):
    run_id = await _running_on_a_node_that_is_gone(scheduler, LostWorkers=2, Attempt=3)
    await scheduler.start(work=False)
    (event,) = await until(lambda: told)
    assert (event.kind, event.run_id) == ("failure", run_id)


async def test_a_run_that_goes_on_after_its_worker_was_lost_alerts_nobody(scheduler, told):
    goes_on = await _running_on_a_node_that_is_gone(scheduler)
    await scheduler.start(schedule=False)
    assert await scheduler.wait(goes_on, 40) == "succeeded"
    failed = await _running_on_a_node_that_is_gone(scheduler, LostWorkers=2)
    await until(lambda: told)
    assert [event.run_id for event in told if event.kind == "failure"] == [failed]
