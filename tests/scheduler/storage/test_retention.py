"""Retention of rows, alerts about it, and manually registered jobs."""

# ruff: noqa: ARG001 - a job takes its context

import pytest
from rt_tools import until
from targcc_scheduler import JobContext, JobError, RunState, job


@job(retries=1, backoff="10ms")
async def fail(ctx: JobContext) -> None:
    raise RuntimeError("boom")


@job()
async def succeed(ctx: JobContext) -> str:
    return "done"


@pytest.fixture
async def told(make_scheduler):
    """A scheduler and the list of its alert events."""
    events = []

    async def notify(event):
        events.append(event)

    scheduler = make_scheduler(notify=notify)
    await scheduler.start(schedule=False)
    return scheduler, events


async def test_people_hear_of_a_failure_once_it_is_final(told, database):
    scheduler, events = told
    run_id = await scheduler.enqueue(fail)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    await until(lambda: events)
    [event] = events
    assert (event.kind, event.run_id, event.attempt) == ("failure", run_id, 2)
    assert event.message == "RuntimeError: boom"
    assert event.details.startswith("Traceback")


async def test_successes_are_told_only_to_those_who_asked(told, database):
    scheduler, events = told
    await scheduler.wait(await scheduler.enqueue(succeed), 10)
    database.change("INSERT INTO c_JobAlert (JobName, AlertOnSuccess) VALUES ('Succeed', 1)")

    async def heard():
        await scheduler.wait(await scheduler.enqueue(succeed), 10)
        return events

    for _ in range(100):
        if await heard():
            break
    assert events[0].kind == "success"


async def test_old_runs_go_and_the_newest_of_each_job_stay_whatever_their_age(scheduler, database):
    ids = [await scheduler.enqueue(succeed) for _ in range(8)]
    for run_id in ids:
        await scheduler.wait(run_id, 40)
    waiting = await scheduler.schedule(succeed, delay="1h")
    for table, column in (("c_JobRun", "CompletedAt"), ("c_LoggedJob", "StartedAt")):
        database.change(
            f"UPDATE {table} SET {column} = '2020-01-01 00:00:00.000000' WHERE {column} IS NOT NULL"
        )
    removed = await scheduler.prune(days=30, keep_last=3)
    assert (removed["runs"], removed["attempts"]) == (5, 5)
    left = [row["Id"] for row in database.rows("SELECT Id FROM c_JobRun ORDER BY Id")]
    assert left == [*ids[-3:], waiting]


async def test_nothing_young_is_removed(scheduler, database):
    await scheduler.wait(await scheduler.enqueue(succeed), 10)
    removed = await scheduler.prune(days=30, keep_last=0)
    assert removed == {"runs": 0, "attempts": 0, "audit": 0, "statistics": 0}


async def test_a_function_is_registered_by_hand_while_the_scheduler_runs(make_scheduler, database):
    scheduler = make_scheduler()
    await scheduler.start()
    done = []
    scheduler.add_recurring("custom-job", lambda: done.append(1), "* * * * * *")
    await until(lambda: done)
    assert database.one("SELECT JobType FROM c_JobRun LIMIT 1") == "Recurring"
    assert scheduler.find("custom job").name == "custom-job"


async def test_a_name_is_taken_once(scheduler):
    with pytest.raises(ValueError, match="'Succeed' is taken"):
        scheduler.add_recurring("Succeed", lambda: None, "0 2 * * *")
    with pytest.raises(JobError, match="its arguments need defaults"):
        scheduler.add_recurring("needy", _needy, "0 2 * * *")


def _needy(a: int) -> None:
    """Require an argument, so that a schedule alone cannot run the job."""
