"""Enqueue many runs of a job in one call."""

import asyncio
import json

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from targcc_scheduler import ArgumentsError, Client, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.kernel.engine import submit
from targcc_scheduler.kernel.jobs.registry import JobRegistry


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


@pytest.mark.parametrize("count", [1, 3])
async def test_the_id_of_a_deleted_run_is_not_given_again(scheduler, count):
    ids = await scheduler.enqueue_many(GreetJob, [{"user_id": n} for n in range(3)])
    for run_id in ids[1:]:
        await scheduler.delete(run_id, by=SYSTEM)
    await scheduler.delete(ids[0], by=SYSTEM)
    new = await scheduler.enqueue_many(GreetJob, [{"user_id": n} for n in range(count)])
    assert min(new) > max(ids)
    assert [run.Id for run in await _runs(scheduler)] == new


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
    async with engine.connect() as connection:
        await scheduler.enqueue_many(GreetJob, [{"user_id": 1}] * 3, connection=connection)
        await connection.rollback()
    await engine.dispose()
    assert await _runs(scheduler) == []


@pytest.mark.sqlite  # opens the connection with a driver of SQLite or PostgreSQL
@pytest.mark.parametrize("count", [1, 3])
async def test_a_connection_of_the_caller_that_has_executed_nothing_commits_them(scheduler, count):
    url = sa.make_url(scheduler.settings.database_url)
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
    engine = create_async_engine(url.set(drivername=drivers[url.get_backend_name()]))
    many = [{"user_id": 1}] * count
    async with engine.connect() as connection:
        ids = await scheduler.enqueue_many(GreetJob, many, connection=connection)
        await connection.commit()
        await scheduler.enqueue_many(GreetJob, many, connection=connection)
        await connection.rollback()
    await engine.dispose()
    assert [run.Id for run in await _runs(scheduler)] == ids


@pytest.mark.parametrize(
    ("after", "many", "problem"),
    [
        ([1], 4, "a call has at most 3 runs that wait, not 4: make several"),
        ([1, 2, 3], 3, "3 runs that wait for 3 are more than 8 links: let them wait for a batch"),
    ],
)
async def test_no_more_of_them_wait_than_can_go_at_once(
    scheduler, monkeypatch, after, many, problem
):
    monkeypatch.setattr(submit, "MOST_WAITING", 3)
    monkeypatch.setattr(submit, "MOST_LINKS", 8)
    await scheduler.enqueue_many(GreetJob, [{"user_id": 1}] * 4)
    with pytest.raises(ValueError, match=problem):
        await scheduler.enqueue_many(GreetJob, [{"user_id": 1}] * many, after=after)
    with pytest.raises(ValueError, match=problem):
        await asyncio.to_thread(
            Client(scheduler).enqueue_many, GreetJob, [{"user_id": 1}] * many, after=after
        )
    await scheduler.enqueue_many(GreetJob, [{"user_id": 1}] * 3, after=[1, 2, 2])
    assert len(await _runs(scheduler)) == 7


async def test_none_is_not_an_error(scheduler):
    assert await scheduler.enqueue_many(GreetJob, []) == []


def test_a_process_that_only_enqueues_reads_a_jobs_signature_once():
    registry = JobRegistry("no_such_package.jobs")
    assert registry.find(GreetJob) is registry.find(GreetJob)
