"""A run on PostgreSQL is inserted on the event loop of the caller, once the loop has created a few runs."""

import asyncio
from contextlib import suppress

import psycopg
import pytest
import sqlalchemy as sa
from targcc_scheduler import JobContext, Scheduler, Settings, hosting, job
from targcc_scheduler.db.dialects import psycopg_driver
from targcc_scheduler.db.transactions import Store

FIRST = psycopg_driver._CALLS_ELSEWHERE


@job()
class NoteJob:
    async def execute(self, ctx: JobContext, number: int) -> str:
        return f"{ctx.run_id}: {number}"


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time go by until the scheduler's loop has to look at the database again."""
    monkeypatch.setattr(hosting, "_AT_ONCE_SECONDS", float("inf"))


@pytest.fixture
async def scheduler(migrated_postgresql_url):
    settings = Settings(
        _env_file=None, database_url=migrated_postgresql_url, migrate_on_start=False
    )
    async with Scheduler(settings, jobs_package=__name__) as scheduler:
        yield scheduler


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """Collect the stores that insert a run on the scheduler's loop."""
    begun: list[Store] = []
    create = hosting.Host._create_on_loop

    def noted(host, run):
        begun.append(host.store)
        return create(host, run)

    monkeypatch.setattr(hosting.Host, "_create_on_loop", noted)
    return begun


async def _warm(scheduler: Scheduler) -> None:
    for number in range(FIRST + 1):
        await scheduler.enqueue(NoteJob, number=number)


async def test_calls_in_turn_need_no_other_thread(scheduler, elsewhere):
    await _warm(scheduler)
    elsewhere.clear()
    ids = [await scheduler.enqueue(NoteJob, number=number) for number in range(20)]
    assert elsewhere == []
    assert ids == sorted(set(ids))
    assert {await scheduler.wait(run_id, 30) for run_id in ids} == {"succeeded"}


async def test_a_loop_with_a_single_call_opens_no_connection(scheduler, monkeypatch):
    opened = []
    monkeypatch.setattr(
        psycopg_driver.LoopConnections, "_open", lambda _: opened.append(1)  # not awaited
    )
    for number in range(FIRST - 1):
        await scheduler.enqueue(NoteJob, number=number)
    assert opened == []


async def test_calls_at_once_are_all_served(scheduler):
    await _warm(scheduler)
    ids = await asyncio.gather(*(scheduler.enqueue(NoteJob, number=number) for number in range(50)))
    assert len(set(ids)) == 50
    assert {await scheduler.wait(run_id, 30) for run_id in ids} == {"succeeded"}


async def test_a_connection_that_the_server_closed_is_left_for_another(scheduler, elsewhere):
    await _warm(scheduler)
    (driver,) = scheduler.store._of_loops._idle.values()
    pid = driver.info.backend_pid
    terminate = sa.text("SELECT pg_terminate_backend(:pid, 10000)")

    async def close():
        async with scheduler.store.write() as connection:
            await connection.execute(terminate, {"pid": pid})

    await scheduler.call(close())
    elsewhere.clear()
    run_id = await scheduler.enqueue(NoteJob, number=1)
    assert len(elsewhere) == 1
    assert await scheduler.wait(run_id, 30) == "succeeded"
    await _warm(scheduler)
    elsewhere.clear()
    await scheduler.enqueue(NoteJob, number=2)
    assert elsewhere == []


async def test_an_error_closes_the_connection_and_is_what_every_path_raises(scheduler, monkeypatch):
    await _warm(scheduler)
    (driver,) = scheduler.store._of_loops._idle.values()

    async def fails(*_):
        raise psycopg.OperationalError("server closed the connection")

    with monkeypatch.context() as broken:
        broken.setattr(psycopg_driver.PsycopgStatement, "_execute", fails)
        with pytest.raises(sa.exc.OperationalError):
            await scheduler.enqueue(NoteJob, number=1)
    assert driver.closed


async def test_a_stopped_scheduler_leaves_no_connection(scheduler):
    await _warm(scheduler)
    (driver,) = scheduler.store._of_loops._idle.values()
    await scheduler.stop()
    assert driver.closed


def test_a_loop_that_has_ended_leaves_no_connection(migrated_postgresql_url):
    settings = Settings(
        _env_file=None, database_url=migrated_postgresql_url, migrate_on_start=False
    )
    scheduler = Scheduler(settings, jobs_package=__name__)

    async def some() -> None:
        await scheduler.enqueue(NoteJob, number=0)  # opens the database
        await _warm(scheduler)

    asyncio.run(some())
    (driver,) = scheduler.store._of_loops._idle.values()
    asyncio.run(some())
    assert driver.closed
    asyncio.run(scheduler.stop())


async def test_a_cancelled_call_breaks_no_later_call(scheduler):
    await _warm(scheduler)
    task = asyncio.create_task(scheduler.enqueue(NoteJob, number=1))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await _warm(scheduler)
    run_id = await scheduler.enqueue(NoteJob, number=2)
    assert await scheduler.wait(run_id, 30) == "succeeded"
