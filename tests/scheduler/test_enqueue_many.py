"""Many runs of a job at once."""

import json

import pytest
import sqlalchemy as sa
from targcc_scheduler import ArgumentsError, job
from targcc_scheduler.jobs.registry import JobRegistry
from targcc_scheduler.storage.dialects import known
from targcc_scheduler.storage.tables import job_run


@job()
class GreetJob:
    async def execute(self, user_id: int) -> str:
        return f"greeted {user_id}"


@pytest.fixture
def scheduler(not_started):
    return not_started


async def _runs(scheduler):
    query = sa.select(job_run.c.Id, job_run.c.ArgumentsJson, job_run.c.State).order_by(job_run.c.Id)
    return (await scheduler.read(lambda connection: connection.execute(query))).all()


async def test_there_is_a_run_for_each_set_of_arguments_in_their_order(scheduler):
    ids = await scheduler.enqueue_many(GreetJob, ({"user_id": n} for n in range(2_500)))
    runs = await _runs(scheduler)
    assert [run.Id for run in runs] == ids
    assert [json.loads(run.ArgumentsJson)["user_id"] for run in runs] == list(range(2_500))


async def test_each_of_them_runs(scheduler):
    ids = await scheduler.enqueue_many(GreetJob, [{"user_id": n} for n in range(20)])
    await scheduler.start(schedule=False)
    assert {await scheduler.wait(run_id, 30) for run_id in ids} == {"succeeded"}


async def test_one_set_of_arguments_that_does_not_fit_leaves_none(scheduler):
    with pytest.raises(ArgumentsError, match="user_id"):
        await scheduler.enqueue_many(GreetJob, [{"user_id": 1}, {"user_id": "nobody"}])
    assert await _runs(scheduler) == []


async def test_they_are_part_of_the_callers_transaction(scheduler):
    url = sa.make_url(scheduler.settings.database_url)
    engine = known.for_url(url).make_engine(url)
    async with engine.connect() as mine:
        await scheduler.enqueue_many(GreetJob, [{"user_id": 1}] * 3, connection=mine)
        await mine.rollback()
    await engine.dispose()
    assert await _runs(scheduler) == []


async def test_none_is_not_an_error(scheduler):
    assert await scheduler.enqueue_many(GreetJob, []) == []


def test_a_process_that_only_enqueues_reads_a_jobs_signature_once():
    registry = JobRegistry("no_such_package.jobs")
    assert registry.find(GreetJob) is registry.find(GreetJob)
