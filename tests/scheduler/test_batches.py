"""Batches: created together, counted, followed by callbacks, cancelled, retried."""

import asyncio
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from targcc_scheduler import Client, Scheduler, Settings, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.errors import BatchError
from targcc_scheduler.core.states import FINAL
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_batch, job_run
from targcc_scheduler.fake import RECORDING
from targcc_scheduler.features.batches import effects as batch_effects
from targcc_scheduler.kernel.engine.submit import hand_on

BROKEN: set[int] = set()


@job(retries=0)
class InvoiceJob:
    async def execute(self, number: int) -> None:
        if number in BROKEN:
            raise ValueError(f"invoice {number} is broken")


@job()
class ReportJob:
    async def execute(self) -> None: ...


@job()
class CleanUpJob:
    async def execute(self) -> None: ...


@pytest.fixture(autouse=True)
def _nothing_is_broken():
    BROKEN.clear()


@pytest.fixture
def scheduler(not_started):
    return not_started


async def _states(scheduler, job_name):
    query = sa.select(job_run.c.State).where(job_run.c.JobName == job_name).order_by(job_run.c.Id)
    return list((await scheduler.read(lambda db: db.execute(query))).scalars())


async def _batch(scheduler, batch_id):
    query = sa.select(job_batch).where(job_batch.c.Id == batch_id)
    return (await scheduler.read(lambda db: db.execute(query))).one()


async def _until(scheduler, batch_id, state):
    async with asyncio.timeout(60):
        while True:
            row = await _batch(scheduler, batch_id)
            if row.State == state:
                return row
            await asyncio.sleep(0.02)


async def _all_over(scheduler, job_name):
    async with asyncio.timeout(60):
        while True:
            states = await _states(scheduler, job_name)
            if FINAL.issuperset(states):
                return states
            await asyncio.sleep(0.02)


async def test_callbacks_run_once_each_when_all_is_over(scheduler):
    async with scheduler.batch("month", on_success=ReportJob, on_finish=CleanUpJob) as batch:
        batch.enqueue_many(InvoiceJob, ({"number": n} for n in range(5)))
        async with batch.batch("inner") as inner:
            inner.enqueue(InvoiceJob, number=9)
        async with batch.batch("empty"):
            pass
    row = await _batch(scheduler, batch.batch_id)
    # the empty batch is finished
    assert (row.Total, row.Pending, row.State) == (7, 6, "running")
    assert await _states(scheduler, "Report") == ["awaiting"]
    after = await scheduler.enqueue(CleanUpJob, after=batch, on="success")
    await scheduler.start(schedule=False)
    done = await _until(scheduler, batch.batch_id, "succeeded")
    assert (done.Total, done.Pending, done.Failed) == (7, 0, 0)
    assert await _all_over(scheduler, "Report") == ["succeeded"]
    assert await _all_over(scheduler, "CleanUp") == ["succeeded", "succeeded"]
    assert await scheduler.wait(after, 1) == "succeeded"


async def test_what_failed_is_done_again_in_its_place_and_success_comes_then(scheduler):
    BROKEN.update({1, 9})
    async with scheduler.batch("month", on_success=ReportJob, on_finish=CleanUpJob) as batch:
        batch.enqueue_many(InvoiceJob, [{"number": n} for n in range(3)])
        async with batch.batch("inner") as inner:
            inner.enqueue(InvoiceJob, number=9)
    await scheduler.start(schedule=False)
    row = await _until(scheduler, batch.batch_id, "failed")
    assert (row.Total, row.Failed) == (4, 2)  # one run, and the inner batch
    assert await _all_over(scheduler, "CleanUp") == ["succeeded"]
    assert await _states(scheduler, "Report") == ["awaiting"]
    BROKEN.clear()
    assert await scheduler.batches.retry_failed(batch.batch_id, by=SYSTEM) == 2
    row = await _until(scheduler, batch.batch_id, "succeeded")
    assert (row.Total, row.Pending, row.Failed) == (4, 0, 0)
    assert await _all_over(scheduler, "Report") == ["succeeded"]
    assert await _states(scheduler, "CleanUp") == ["succeeded"]  # only at the first end
    with pytest.raises(BatchError, match="no run of batch"):
        await scheduler.batches.retry_failed(batch.batch_id, by=SYSTEM)


async def test_any_text_is_a_name_for_a_batch(scheduler):
    names = {
        "n" * 300: "n" * 200,
        "a\0b\x1b[31m": "a␀b␛[31m",
        "\u202etxt.exe": "<U+202E>txt.exe",
        "half \ud83d": "half <U+D83D>",
        "login=dana password=correct-horse": "login=dana password=••••••",
    }
    for name, kept in names.items():
        async with scheduler.batch(name) as batch:
            batch.enqueue(ReportJob)
        assert (await _batch(scheduler, batch.batch_id)).Name == kept


async def test_a_block_that_raises_and_a_transaction_that_is_rolled_back_leave_nothing(scheduler):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
        async with scheduler.batch("never", on_finish=CleanUpJob) as batch:
            batch.enqueue(InvoiceJob, number=1)
            raise ZeroDivisionError
    url = sa.make_url(scheduler.settings.database_url)
    engine = known.for_url(url).make_engine(url)
    async with engine.connect() as connection:
        async with scheduler.batch("never", on_finish=CleanUpJob, session=connection) as batch:
            batch.enqueue(InvoiceJob, number=1)
        await connection.rollback()
    await engine.dispose()
    count = sa.select(sa.func.count()).select_from(job_batch)
    assert await scheduler.read(lambda db: db.scalar(count)) == 0
    assert await _states(scheduler, "Invoice") == await _states(scheduler, "CleanUp") == []


@pytest.mark.slow
async def test_all_of_it_is_cancelled_and_nothing_can_be_added_then(scheduler):
    async with scheduler.batch("month", on_finish=CleanUpJob) as batch:
        batch.enqueue_many(InvoiceJob, [{"number": n} for n in range(1_500)])
        async with batch.batch("inner") as inner:
            inner.enqueue(InvoiceJob, number=9)
    [run_id] = await scheduler.batches.add(batch.batch_id, InvoiceJob, [{"number": 7}])
    await scheduler.delete(run_id, by=SYSTEM)  # a waiting run leaves its batch
    assert (await _batch(scheduler, batch.batch_id)).Total == 1_501
    assert await scheduler.batches.cancel(batch.batch_id, by=SYSTEM) == 1_501
    row = await _batch(scheduler, batch.batch_id)
    assert (row.State, row.Pending, row.Failed) == ("cancelled", 0, 1_501)
    assert (await _batch(scheduler, inner.batch_id)).State == "cancelled"
    assert await _states(scheduler, "CleanUp") == ["enqueued"]
    with pytest.raises(BatchError, match="nothing can be added"):
        await scheduler.batches.add(batch.batch_id, InvoiceJob, [{"number": 7}])
    with pytest.raises(BatchError, match="nothing to cancel"):
        await scheduler.batches.cancel(batch.batch_id, by=SYSTEM)


async def test_what_an_earlier_release_has_ended_is_counted_by_the_sweep(scheduler):
    async with scheduler.batch("month", on_finish=CleanUpJob) as batch:
        batch.enqueue_many(InvoiceJob, [{"number": n} for n in range(2)])
    uncounted = sa.text("UPDATE c_JobRun SET State = 'failed' WHERE JobName = 'Invoice'")
    await scheduler.change(lambda db: db.execute(uncounted))
    now = datetime.now(UTC)

    async def sweep():
        async with scheduler.store.write() as connection:
            assert await batch_effects.any_missed(connection)
            came = await batch_effects.sweep(connection, now)
            await hand_on(scheduler._host.engine, connection, came, now)
            assert not await batch_effects.any_missed(connection)

    await scheduler.call(sweep())
    row = await _batch(scheduler, batch.batch_id)
    assert (row.State, row.Failed) == ("failed", 2)
    assert await _states(scheduler, "CleanUp") == ["enqueued"]


async def test_a_batch_goes_with_its_last_run_and_what_waits_for_it_is_discarded(scheduler):
    async with scheduler.batch("month", on_success=ReportJob) as batch:
        batch.enqueue(InvoiceJob, number=1)
    await scheduler.batches.cancel(batch.batch_id, by=SYSTEM)
    later = datetime.now(UTC) + timedelta(days=1)

    async def prune():
        async with scheduler.store.write() as connection:
            # its run still exists
            assert await batch_effects.prune(connection, later, later, 10) == 0
            gone = sa.text("DELETE FROM c_JobRun WHERE JobName = 'Invoice'")
            await connection.execute(gone)
            assert await batch_effects.prune(connection, later, later, 10) == 1
            assert await batch_effects.any_missed(connection)
            await batch_effects.sweep(connection, later)
            assert not await batch_effects.any_missed(connection)

    await scheduler.call(prune())
    assert await _states(scheduler, "Report") == ["cancelled"]


def test_plain_code_makes_batches_too(migrated_url):
    settings = Settings(database_url=migrated_url, migrate_on_start=False)
    with Client(Scheduler(settings, jobs_package=__name__)) as client:
        with client.batch("month", on_finish=CleanUpJob) as batch:
            batch.enqueue(InvoiceJob, number=1)
            with batch.batch("inner") as inner:
                inner.enqueue(InvoiceJob, number=2)
        assert batch.batch_id < inner.batch_id


async def test_a_scheduler_that_is_off_records_what_is_in_a_batch(tmp_path):
    settings = Settings(database_url=f"sqlite:///{tmp_path}/none.db", mode="off")
    scheduler = Scheduler(settings, jobs_package=__name__)
    RECORDING.clear()
    async with scheduler.batch("month", on_success=ReportJob) as batch:
        batch.enqueue(InvoiceJob, number=1)
    assert [(run.job, run.state) for run in RECORDING.runs] == [
        ("Invoice", "enqueued"),
        ("Report", "awaiting"),
    ]
    RECORDING.clear()
    assert batch.batch_id == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_the_batch_of_a_creator_that_is_killed_before_the_commit_never_was(migrated_url):
    code = f"""
        import asyncio, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from targcc_scheduler import Project, Scheduler, Settings, configure
        configure(Project(name="rig", package="rig"))
        from targcc_scheduler.features.batches import actions as operate
        import test_batches

        whole = operate.create
        async def create(*args):
            await whole(*args)
            print("all but committed", flush=True)
            time.sleep(600)
        operate.create = create

        async def main():
            settings = Settings(database_url={migrated_url!r}, migrate_on_start=False)
            scheduler = Scheduler(settings, jobs_package="test_batches")
            async with scheduler.batch("month", on_finish=test_batches.CleanUpJob) as batch:
                batch.enqueue_many(test_batches.InvoiceJob, [dict(number=n) for n in range(100)])

        asyncio.run(main())
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "all but committed\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    url = sa.make_url(migrated_url)
    engine = sa.create_engine(known.for_url(url).url(url, is_async=False))
    with engine.connect() as connection:
        for table in (job_batch, job_run):
            count = sa.select(sa.func.count()).select_from(table)
            assert connection.scalar(count) == 0
    engine.dispose()
