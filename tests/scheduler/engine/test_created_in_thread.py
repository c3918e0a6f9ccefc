"""A run on SQLite is inserted in the thread of the caller, unless another writer is at work."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from targcc_scheduler import JobContext, Scheduler, hosting, job
from targcc_scheduler.db.transactions import Store


@job()
class NoteJob:
    async def execute(self, ctx: JobContext, number: int) -> str:
        return f"{ctx.run_id}: {number}"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time go by until the scheduler's loop has to look at the database again."""
    monkeypatch.setattr(hosting, "_AT_ONCE_SECONDS", float("inf"))


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """Collect the stores whose transactions begin."""
    begun: list[Store] = []
    write = Store.write

    def noted(store: Store):
        begun.append(store)
        return write(store)

    monkeypatch.setattr(Store, "write", noted)
    return begun


@contextmanager
def writing(file: Path) -> Iterator[sqlite3.Connection]:
    """Hold the write lock of a database as another process does, until the end or a commit."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


@pytest.mark.sqlite  # SQL Server has no insert in the caller's thread
@pytest.mark.usefixtures("always")
async def test_calls_in_turn_need_no_other_thread(make_scheduler, transactions):
    scheduler: Scheduler = make_scheduler()
    await scheduler.enqueue(NoteJob, number=0)  # opens the database
    transactions.clear()
    ids = [await scheduler.enqueue(NoteJob, number=number) for number in range(20)]
    assert transactions == []
    assert ids == sorted(set(ids))


@pytest.mark.usefixtures("always")
async def test_each_of_them_runs(scheduler):
    ids = [await scheduler.enqueue(NoteJob, number=number) for number in range(10)]
    assert {await scheduler.wait(run_id, 30) for run_id in ids} == {"succeeded"}


@pytest.mark.usefixtures("always")
async def test_other_tasks_of_the_caller_go_on(make_scheduler):
    scheduler: Scheduler = make_scheduler()
    await scheduler.enqueue(NoteJob, number=0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for number in range(10):
        await scheduler.enqueue(NoteJob, number=number)
    task.cancel()
    assert turns >= 10


@pytest.mark.usefixtures("always")
async def test_a_call_waits_for_another_writer_and_its_loop_does_not(make_scheduler, database):
    scheduler: Scheduler = make_scheduler()
    await scheduler.enqueue(NoteJob, number=0)
    with writing(database.path) as other:
        waiting = asyncio.create_task(scheduler.enqueue(NoteJob, number=1))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        other.execute("COMMIT")
        assert await waiting > 0


async def test_overrides_and_the_clock_are_read_from_time_to_time(
    make_scheduler, transactions, monkeypatch
):
    scheduler: Scheduler = make_scheduler()
    await scheduler.enqueue(NoteJob, number=0)
    monkeypatch.setattr(hosting, "_AT_ONCE_SECONDS", -1.0)
    transactions.clear()
    await scheduler.enqueue(NoteJob, number=1)
    assert len(transactions) == 1


CALLER = """
import asyncio, sys
from targcc_scheduler import Project, Scheduler, Settings, configure, job

configure(Project(name="crowd", package="crowd"))

@job()
def note(number: int) -> None:
    pass

async def main() -> None:
    scheduler = Scheduler(Settings(_env_file=None, database_url=sys.argv[1], migrate_on_start=False), jobs_package="__main__")
    for number in range(int(sys.argv[2])):
        await scheduler.enqueue("note", number=number)
    await scheduler.stop()

asyncio.run(main())
"""
PROCESSES, CALLS = 8, 50


@pytest.mark.usefixtures("processes")
def test_eight_processes_create_runs_at_once_without_an_error(database, tmp_path):
    environment = {**os.environ, "TARGCC_JOBS_PACKAGE": "", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", CALLER, database.url, str(CALLS)]
    callers = [
        subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, encoding="utf-8")
        for _ in range(PROCESSES)
    ]
    errors = [caller.communicate(timeout=120)[1] for caller in callers]
    assert [caller.returncode for caller in callers] == [0] * PROCESSES, errors
    assert database.one("SELECT count(DISTINCT Id) FROM c_JobRun") == PROCESSES * CALLS
