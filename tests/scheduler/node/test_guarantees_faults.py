"""Guarantees of ``docs/guarantees.md`` for a full disk, a backlog and a changed clock, on SQLite and PostgreSQL."""

# ruff: noqa: ARG001 - a job takes its context

import asyncio
import shutil
import signal
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import postgresql
import psutil
import pytest
import sqlalchemy as sa
from guarantee_rig import Ledger, Node, schedulers, until
from small_disk import SmallDisk, mounted
from sqlalchemy.exc import OperationalError
from targcc_scheduler import JobContext, RunState, Scheduler, job
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.kernel.engine.port import Submission
from targcc_scheduler.kernel.runs import create, values

MEGABYTE = 1024 * 1024


@pytest.fixture
def on_small_sqlite(_sqlite_template: Path):
    """Yield a small disk with a SQLite database."""
    with mounted(2) as disk:
        shutil.copy(_sqlite_template, disk.folder / "jobs.db")
        yield disk, f"sqlite:///{disk.folder / 'jobs.db'}"


@pytest.fixture
def on_small_postgresql(postgresql_server: postgresql.PostgreSQL, _postgresql_template: str):
    """Yield a small disk with the tables of a PostgreSQL database; the server's own files are elsewhere."""
    name = f"small_{uuid.uuid4().hex[:8]}"
    with mounted(32) as disk:
        postgresql_server.make_tablespace(name, disk.folder / "tables")
        postgresql_server._execute(
            f"CREATE DATABASE {name} TEMPLATE {_postgresql_template} TABLESPACE {name}"
        )
        try:
            yield disk, postgresql_server.url(name)
        finally:
            disk.free()
            postgresql_server.drop(name)
            postgresql_server.drop_tablespace(name)


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.sqlite), "postgresql"])
def on_small_disk(request: pytest.FixtureRequest) -> tuple[SmallDisk, str]:
    """Return a small disk and the URL of its database."""
    small: tuple[SmallDisk, str] = request.getfixturevalue(f"on_small_{request.param}")
    return small


@pytest.fixture
def start_node(processes: None, tmp_path: Path):
    nodes: list[Node] = []

    def start(url: str, *words: str) -> Node:
        nodes.append(Node(url, tmp_path, *words))
        return nodes[-1]

    yield start
    for node in nodes:
        node.end()


async def test_a_full_disk_is_said_clearly_loses_nothing_and_leaves_no_corrupt_state(
    on_small_disk, start_node
):
    disk, url = on_small_disk
    ledger = Ledger(url)
    async with schedulers(url, "rig_jobs.jobs") as make:
        client = make()
        node = start_node(url)
        running = await client.enqueue("UntilOpened")
        await until(lambda: node.noted("until_opened begin"), "it has begun")
        disk.fill()
        acknowledged, error = await _enqueue_until_refused(client)
        error_text = str(error.orig)
        assert "full" in error_text or "No space left on device" in error_text
        node.open()
        await until(lambda: node.noted("until_opened end"), "the job ends on the full disk")
        await until(lambda: "will be tried again" in node.said(), "the node says that it cannot")
        disk.free()
        for run_id in (running, *acknowledged):
            assert await client.wait(run_id, 30) == RunState.SUCCEEDED
        assert await client.wait(await client.enqueue("Noted"), 20) == RunState.SUCCEEDED
    assert node.process.poll() is None
    assert "full" in node.said() or "No space left on device" in node.said()
    await until(lambda: "works again after" in node.said(), "it says that it can again")
    assert "Traceback" not in node.said()
    assert len(node.noted("until_opened begin")) == 1
    ledger.assert_sound()


async def _enqueue_until_refused(client: Scheduler) -> tuple[list[int], OperationalError]:
    """Create runs until the database refuses one; return the created ids and the error."""
    taken: list[int] = []
    for number in range(5000):
        try:
            taken.append(await client.enqueue("Noted", n=number))
        except OperationalError as error:
            return taken, error
    pytest.fail("the disk never was full")


async def test_a_frozen_node_finds_that_it_was_taken_for_dead(migrated_postgresql_url, start_node):
    """``test_faults.py`` tests the same on SQLite."""
    url = migrated_postgresql_url
    ledger = Ledger(url)
    async with schedulers(url, "rig_jobs.jobs") as make:
        client = make()
        run_id = await client.enqueue("UntilOpened")
        frozen = start_node(url)
        await until(lambda: frozen.noted("until_opened begin"), "it has begun")
        frozen.process.send_signal(signal.SIGSTOP)
        healthy = start_node(url)
        await until(lambda: healthy.noted(f"until_opened begin {run_id} 2"), "another takes it")
        frozen.process.send_signal(signal.SIGCONT)
        await until(lambda: "declared lost" in frozen.said(), "it finds out")
        healthy.open()
        assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    assert f":{healthy.process.pid}:" in ledger.run(run_id).ServerId
    assert [attempt.Success for attempt in ledger.attempts(run_id)] == [False, True]
    ledger.assert_sound()


# Backlog.


class Crowd:
    """Count the concurrent runs."""

    def __init__(self) -> None:
        self.may_pass = threading.Event()
        self.now = 0
        self.most = 0
        self.done = 0


crowd = Crowd()


@pytest.fixture(autouse=True)
def _new_crowd():
    crowd.__init__()
    yield
    crowd.may_pass.set()


@job()
async def pile(ctx: JobContext) -> None:
    crowd.now += 1
    crowd.most = max(crowd.most, crowd.now)
    while not crowd.may_pass.is_set():  # noqa: ASYNC110 - it is a threading event
        await asyncio.sleep(0.01)
    crowd.now -= 1
    crowd.done += 1


@job(queue="critical")
async def urgent(ctx: JobContext) -> None: ...


async def _pile_up(scheduler: Scheduler, count: int) -> None:
    """Insert ``count`` waiting runs, as after a long downtime."""
    now = datetime.now(UTC)
    due = now - timedelta(hours=8)
    run = values.NewRun(
        job_name="Pile",
        job_type="FireAndForget",
        queue="default",
        priority=0,
        due_at=due,
        triggered_by="System",
    )

    async def work() -> None:
        async with scheduler.store.write() as connection:
            rows = [create.new_row(run, due) for _ in range(count)]
            created = await connection.scalars(job_run.insert().returning(job_run.c.Id), rows)
            entries = [Submission(run_id, "default", 0, due) for run_id in created]
            await scheduler._host.engine.submit(connection, entries)

    await scheduler.call(work())


@pytest.fixture
async def piled_up(migrated_url: str, request: pytest.FixtureRequest):
    """A scheduler that will find ten thousand waiting runs."""
    async with schedulers(migrated_url, request.module.__name__) as make:
        scheduler = make()
        await _pile_up(scheduler, 10_000)
        yield scheduler


@pytest.mark.slow
async def test_ten_thousand_runs_that_wait_are_taken_as_there_are_workers_and_hold_nobody_up(
    piled_up, migrated_url
):
    ledger, process = Ledger(migrated_url), psutil.Process()
    before = process.memory_info().rss
    await piled_up.start(schedule=False)
    await until(lambda: crowd.now == 5, "the workers of the queue are busy")
    for _ in range(20):
        run_id = await piled_up.enqueue(urgent)
        assert await piled_up.wait(run_id, 30) == RunState.SUCCEEDED
    assert ledger.states() == {"running": 5, "enqueued": 9995, "succeeded": 20}
    assert crowd.most == 5
    assert process.memory_info().rss - before < 50 * MEGABYTE


@pytest.mark.soak
async def test_ten_thousand_runs_that_wait_are_all_done_by_no_more_than_the_workers(
    piled_up, migrated_url
):
    ledger, process = Ledger(migrated_url), psutil.Process()
    before = process.memory_info().rss
    crowd.may_pass.set()
    await piled_up.start(schedule=False)
    await until(lambda: crowd.done >= 5_000, "half are done", 60)
    assert await piled_up.wait(await piled_up.enqueue(urgent), 30) == RunState.SUCCEEDED
    assert crowd.done < 10_000  # it ran before the older runs
    await until(lambda: ledger.states() == {"succeeded": 10_001}, "all are done", 60)
    assert crowd.done == 10_000
    assert crowd.most <= 5
    assert process.memory_info().rss - before < 100 * MEGABYTE
    assert ledger.rows(sa.select(job_run.c.Attempt).distinct()) == [(1,)]
