"""Jobs that ignore the stop request keep their worker, are shown, and end in the right state: a real node, both databases."""

# ruff: noqa: ARG002 - a job takes its context

import asyncio
import contextlib
import gc
import queue
import threading
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from rt_tools import QUICK, until
from targcc_scheduler import Actor, ActorKind, JobContext, RunState, Settings, job
from targcc_scheduler.db.tables import job_run, logged_job
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.worker import executor
from targcc_scheduler.kernel.worker.runner import JobLoop

DANA = Actor(ActorKind.MANUAL, "dana")
gate = threading.Event()


@job(retries=0, timeout="100ms", concurrency=1)
class StuckJob:
    def execute(self, ctx: JobContext) -> str:
        gate.wait(60)
        return "done after all"


@job(retries=3, timeout="100ms", queue="critical")
class StuckCriticalJob:
    def execute(self, ctx: JobContext) -> None:
        gate.wait(60)


@job(retries=3)
class DeafJob:
    def execute(self, ctx: JobContext) -> None:
        gate.wait(60)
        raise ConnectionError("the line is dead")


@job(retries=0, timeout="100ms")
class StubbornJob:
    async def execute(self, ctx: JobContext) -> None:
        while not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)


@job(queue="critical")
class CriticalJob:
    async def execute(self, ctx: JobContext) -> None: ...


@job(retries=0, timeout="50ms")
class HandsOnJob:
    """Job whose thread ends after the stop request; its dependent must not begin."""

    begun = False

    def execute(self, ctx: JobContext):
        gate.wait(60)
        return self.rest()

    async def rest(self) -> None:
        await asyncio.sleep(0)
        HandsOnJob.begun = True


@job(retries=0)
class BlockingJob:
    """Job that blocks the event loop, misses the stop request and succeeds."""

    async def execute(self, ctx: JobContext) -> str:
        ctx.log.info("blocking")
        gate.wait(60)
        return "done"


@pytest.fixture(autouse=True)
def _nothing_left():
    """Collect tasks left by this test, so that their end does not disturb a later test."""
    yield
    gc.collect()


@pytest.fixture
async def scheduler(migrated_url, make_scheduler, monkeypatch):
    monkeypatch.setattr(executor, "_LAST_CHANCE_SECONDS", 0.1)
    gate.clear()
    settings = Settings(_env_file=None, database_url=migrated_url, **QUICK)
    scheduler = make_scheduler(settings=settings)
    await scheduler.start(schedule=False)
    yield scheduler
    gate.set()


async def _run(scheduler, run_id):
    query = sa.select(job_run).where(job_run.c.Id == run_id)
    return await scheduler.read(lambda connection: _first(connection, query))


async def _first(connection, query):
    return (await connection.execute(query)).one()


async def _history(scheduler, run_id):
    query = sa.select(logged_job).where(logged_job.c.JobId == str(run_id))
    query = query.order_by(logged_job.c.ID).limit(1)  # the first attempt
    return await scheduler.read(lambda connection: _first(connection, query))


async def _noted(scheduler, run_id, words="still running"):
    """Wait until a run is shown as not stopping; return its row."""
    async with asyncio.timeout(20):
        while words not in ((row := await _run(scheduler, run_id)).StopNote or ""):
            assert row.State in {RunState.ENQUEUED, RunState.RUNNING}
            await asyncio.sleep(0.02)
    return row


async def _running(scheduler, run_id):
    async with asyncio.timeout(20):
        state = None
        while state != RunState.RUNNING:
            await asyncio.sleep(0.01)
            state = (await _run(scheduler, run_id)).State


async def test_a_thread_that_does_not_stop_counts_in_its_jobs_limit_until_it_ends(
    scheduler, caplog
):
    first = await scheduler.enqueue(StuckJob)
    second = await scheduler.enqueue(StuckJob)
    row = await _noted(scheduler, first)
    assert row.StopNote.startswith("told to stop at 2")
    assert row.StopNote.endswith("still running: timed out after 100ms")
    assert f"'targcc-job Stuck {first}' does not stop and keeps its worker" in caplog.text
    assert "gate.wait(60)" in caplog.text
    assert (await _run(scheduler, second)).State == RunState.ENQUEUED
    gate.set()
    assert await scheduler.wait(first, 40) == RunState.FAILED
    row = await _run(scheduler, first)
    assert (row.Message, row.StopNote) == ("timed out after 100ms", None)
    assert (await _history(scheduler, first)).Success is False
    assert await scheduler.wait(second, 40) == RunState.SUCCEEDED


async def test_threads_that_do_not_stop_keep_their_workers_and_other_queues_go_on(scheduler):
    stuck = [await scheduler.enqueue(StuckCriticalJob) for _ in range(2)]  # one per worker
    for run_id in stuck:
        await _noted(scheduler, run_id)
    waiting = await scheduler.enqueue(CriticalJob)
    other = await scheduler.enqueue(StubbornJob)
    gate.set()
    await scheduler.wait(other, 40)
    assert await scheduler.wait(waiting, 40) == RunState.SUCCEEDED
    begun = (await _run(scheduler, waiting)).StartedAt
    first = [await _history(scheduler, run_id) for run_id in stuck]
    assert min(attempt.CompletedAt for attempt in first) <= begun
    assert not any(attempt.Success for attempt in first)


async def test_a_cancelled_thread_is_cancelled_when_it_ends(scheduler):
    run_id = await scheduler.enqueue(DeafJob)
    await _running(scheduler, run_id)
    await scheduler.cancel(run_id, by=DANA)
    await _noted(scheduler, run_id, "still running: cancelled by Manual (dana)")
    gate.set()
    assert await scheduler.wait(run_id, 40) == RunState.CANCELLED
    assert "the line is dead" in (await _history(scheduler, run_id)).StackTrace


async def test_who_cancels_a_run_that_timed_out_and_goes_on_ends_its_retries(scheduler):
    run_id = await scheduler.enqueue(StuckCriticalJob)
    await _noted(scheduler, run_id, "timed out")
    await scheduler.cancel(run_id, by=DANA)
    await _noted(scheduler, run_id, "cancelled by Manual (dana); it had timed out after 100ms")
    gate.set()
    assert await scheduler.wait(run_id, 40) == RunState.CANCELLED
    assert (await _history(scheduler, run_id)).Success is False


async def test_a_coroutine_that_swallows_its_cancellation_is_shown_too(scheduler):
    run_id = await scheduler.enqueue(StubbornJob)
    await _noted(scheduler, run_id)
    gate.set()
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    assert (await _history(scheduler, run_id)).Success is False


async def test_what_a_stopped_thread_hands_on_does_not_begin(scheduler):
    HandsOnJob.begun = False
    run_id = await scheduler.enqueue(HandsOnJob)
    await _noted(scheduler, run_id)
    gate.set()
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    assert not HandsOnJob.begun


async def test_at_a_shutdown_threads_that_do_not_stop_are_settled_by_why_they_were_told(scheduler):
    timed_out = await scheduler.enqueue(StuckJob)
    cancelled = await scheduler.enqueue(DeafJob)
    working = await scheduler.enqueue(DeafJob)
    await _noted(scheduler, timed_out)
    await _running(scheduler, cancelled)
    await _running(scheduler, working)
    await scheduler.cancel(cancelled, by=DANA)
    await _noted(scheduler, cancelled)
    await scheduler.stop()
    rows = [await _run(scheduler, run_id) for run_id in (timed_out, cancelled, working)]
    assert [row.State for row in rows] == ["failed", "cancelled", "enqueued"]
    assert [row.StopNote for row in rows] == [None] * 3
    assert rows[0].Message.endswith("it did not stop and was abandoned when its process ended")
    assert rows[2].Attempt == 0


async def test_what_ends_well_while_it_is_stopped_by_force_is_not_done_again(
    scheduler, monkeypatch
):
    monkeypatch.setattr(executor, "_LAST_CHANCE_SECONDS", 20)
    run_id = await scheduler.enqueue(BlockingJob)
    attempt = await until(lambda: scheduler._host.node.executor._running.get(run_id))
    await until(lambda: attempt.recorder._count)
    stopping = asyncio.create_task(scheduler.stop())
    await until(lambda: attempt.forced)
    gate.set()
    await stopping
    await scheduler.start(work=False, schedule=False)
    assert (await _run(scheduler, run_id)).State == RunState.SUCCEEDED


def test_a_loop_of_jobs_that_was_not_started_stops_at_once(caplog):
    JobLoop().stop()
    assert caplog.records == []  # logged only after the wait has timed out


def test_what_is_stopped_before_the_loop_has_time_for_it_ends_unbegun():
    loop, blocked, free = JobLoop(), threading.Event(), threading.Event()
    loop.start()
    loop.thread.loop.call_soon_threadsafe(lambda: (blocked.set(), free.wait(20)))
    blocked.wait(20)
    definition = define(CriticalJob, name="Critical")
    ends = queue.SimpleQueue()
    invocation = loop.begin(
        definition,
        SimpleNamespace(job_name="Critical", run_id=1, take=lambda *_: None),
        {},
        on_begin=lambda: ends.put("begun"),
        on_end=ends.put,
    )
    invocation.stop()
    free.set()
    ended = ends.get(timeout=20)
    assert (ended.interrupted, ended.outcome.ok) == (True, False)
    loop.stop()
