"""Creating runs: beside SQLite itself, from eight processes, and in an application's transaction; run with `-m benchmark -n0 -s`."""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from operator import truediv
from pathlib import Path

import peer_procrastinate
import pytest
import sqlalchemy as sa
from bench_results import measured
from sqlalchemy.ext.asyncio import create_async_engine
from targcc_scheduler import JobType, Scheduler, Settings, job, migrate
from targcc_scheduler.core.loop_thread import LoopThread
from targcc_scheduler.db.tables import job_run

pytestmark = pytest.mark.benchmark

TOPIC = "Creating runs"
RUNS, ROUNDS = 500, 7
FEW, MANY_ROUNDS = 50, 40
"""Calls and rounds where a ratio is measured: short rounds in turn, so that the machine's other work hits all of them."""


@job(JobType.MANUAL)
async def tick(sent: float = 0) -> None:
    """Do nothing."""


def report(line: str) -> None:
    print(line)  # noqa: T201 - what the benchmark is for


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Scheduler]:
    """Provide a scheduler that creates runs and runs none."""
    settings = Settings(_env_file=None, database_url=url, migrate_on_start=False)
    scheduler = Scheduler(settings, jobs_package=__name__)
    await scheduler.start(work=False, schedule=False)
    try:
        yield scheduler
    finally:
        await scheduler.stop()


async def rate(act: Callable[[], Awaitable[object]], calls: int = RUNS) -> float:
    """Return the number of calls a second, one at a time."""
    started = time.perf_counter()
    for _ in range(calls):
        await act()
    return calls / (time.perf_counter() - started)


class Plain:
    """SQLite without the scheduler: the row of a run in a transaction of its own, with the same settings of the database."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        columns = "JobName, JobType, State, Queue, Priority, ArgumentsJson, DueAt, CreatedAt, TriggeredBy, Ties, Weight, Attempt, LifeLog"
        self._insert = f"INSERT INTO c_JobRun ({columns}) SELECT {columns} FROM c_JobRun LIMIT 1"

    async def insert(self) -> None:
        """Insert a row and commit."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(self._insert)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


async def test_enqueue_beside_sqlite_itself(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    migrate(url)
    rates: dict[str, list[float]] = {"enqueue": [], "plain": [], "thread": []}
    thread = LoopThread("beside")
    thread.start()
    async with opened(url) as scheduler:
        await scheduler.enqueue("tick", sent=0.5)
        plain = Plain(tmp_path / "jobs.db")
        for _ in range(ROUNDS):
            rates["enqueue"].append(await rate(lambda: scheduler.enqueue("tick", sent=0.5)))
            rates["plain"].append(await rate(plain.insert))
            rates["thread"].append(await rate(lambda: thread.call(plain.insert())))
        plain.close()
    thread.stop()
    half = {name: statistics.median(values) for name, values in rates.items()}
    measured(TOPIC, "ours, SQLite, one call at a time", "runs created", "runs/s", rates["enqueue"])
    measured(TOPIC, "INSERT and COMMIT of SQLite", "rows", "rows/s", rates["plain"])
    measured(TOPIC, "the same through a thread", "rows", "rows/s", rates["thread"])
    report(
        f"\nenqueue {half['enqueue']:.0f}/s; SQLite itself {half['plain']:.0f}/s, through a thread {half['thread']:.0f}/s"
    )
    assert half["enqueue"] >= 0.15 * half["plain"]


CALLER = """
import asyncio, json, sys, time
from targcc_scheduler import Project, Scheduler, Settings, configure, job

configure(Project(name="crowd", package="crowd"))

@job()
def tick(sent: float) -> None:
    pass

async def main() -> None:
    scheduler = Scheduler(Settings(_env_file=None, database_url=sys.argv[1], migrate_on_start=False), jobs_package="__main__")
    await scheduler.enqueue("tick", sent=0.5)
    print(flush=True)
    sys.stdin.readline()
    waits = []
    for _ in range(int(sys.argv[2])):
        before = time.perf_counter()
        await scheduler.enqueue("tick", sent=0.5)
        waits.append(time.perf_counter() - before)
    await scheduler.stop()
    print(json.dumps(waits))

asyncio.run(main())
"""
PROCESSES, MOST_WAIT = 8, 1.0


def test_eight_processes_enqueue_at_once(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    migrate(url)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    environment = {**os.environ, "TARGCC_JOBS_PACKAGE": ""}
    command = [sys.executable, "-c", CALLER, url, str(RUNS)]
    callers = [subprocess.Popen(command, env=environment, **pipes) for _ in range(PROCESSES)]
    for caller in callers:
        caller.stdout.readline()
    started = time.perf_counter()
    for caller in callers:
        caller.stdin.write("\n")
        caller.stdin.flush()
    outputs = [caller.communicate(timeout=300)[0] for caller in callers]
    together = PROCESSES * RUNS / (time.perf_counter() - started)
    assert [caller.returncode for caller in callers] == [0] * PROCESSES
    waits = [wait for output in outputs for wait in json.loads(output)]
    measured(TOPIC, "ours, SQLite, eight processes", "runs created", "runs/s", [together])
    measured(
        TOPIC,
        "ours, SQLite, eight processes",
        "wait of a call",
        "ms",
        [wait * 1000 for wait in waits],
    )
    report(f"\neight processes {together:.0f}/s, longest wait {max(waits) * 1000:.0f} ms")
    assert max(waits) <= MOST_WAIT


FLOORS = {
    "sqlite": "INSERT INTO c_JobRun ({columns}) SELECT {columns} FROM c_JobRun WHERE Id = :id RETURNING Id",
    "postgresql": """
        WITH new AS (
            INSERT INTO c_JobRun ({columns}) SELECT {columns} FROM c_JobRun WHERE Id = :id RETURNING Id, Queue
        )
        SELECT procrastinate_defer_jobs_v1(ARRAY[
            ROW(Queue, 'targcc.run', 0, NULL, NULL, jsonb_build_object('run_id', Id), NULL)::procrastinate_job_to_defer_v1
        ]) FROM new
    """,
}
"""The statement with the rows of a run: on PostgreSQL also Procrastinate's entry, its event and its notification."""


@pytest.mark.parametrize("database", list(FLOORS))
async def test_enqueue_in_a_transaction_of_the_application(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
):
    if database == "sqlite":
        url = f"sqlite:///{tmp_path / 'jobs.db'}"
        migrate(url)
        engine = create_async_engine(url.replace("sqlite://", "sqlite+aiosqlite://"))
    else:
        url = request.getfixturevalue("migrated_postgresql_url")
        engine = create_async_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    rates: dict[str, list[float]] = {"enqueue": [], "insert": [], "floor": []}
    async with opened(url) as scheduler:
        run_id = await scheduler.enqueue("tick", sent=0.5)
        async with engine.begin() as connection:
            found = await connection.execute(sa.select(job_run).where(job_run.c.Id == run_id))
            row = dict(found.mappings().one())
            del row["Id"]
            insert = sa.insert(job_run).returning(job_run.c.Id)
            columns = ", ".join(row)
            floor = FLOORS[database].format(columns=columns)
            acts = {
                "insert": lambda: connection.execute(insert, row),
                "floor": lambda: connection.execute(sa.text(floor), {"id": run_id}),
                "enqueue": lambda: scheduler.enqueue("tick", connection=connection, sent=0.5),
            }
            for _ in range(MANY_ROUNDS):
                for name, act in acts.items():
                    rates[name].append(await rate(act, FEW))
        await engine.dispose()
    of_insert, of_floor = (
        statistics.median(map(truediv, rates[name], rates["enqueue"]))
        for name in ("insert", "floor")
    )
    subject = f"ours, {database}, in an application's transaction"
    measured(TOPIC, subject, "runs created", "runs/s", rates["enqueue"])
    measured(TOPIC, f"INSERT of the same row, {database}", "rows", "rows/s", rates["insert"])
    measured(TOPIC, f"all rows of a run, {database}", "rows", "rows/s", rates["floor"])
    report(f"\n{database}: enqueue takes {of_insert:.2f} of an INSERT, {of_floor:.2f} of all rows")
    assert min(of_insert, of_floor) <= 1.2


async def test_enqueue_beside_procrastinate(migrated_postgresql_url: str):
    """A call from the loop of an application costs no more than a call on the scheduler's own loop."""
    rates: dict[str, list[float]] = {"enqueue": [], "loop": [], "defer": []}
    processor: dict[str, list[float]] = {name: [] for name in rates}
    async with (
        opened(migrated_postgresql_url) as scheduler,
        peer_procrastinate.connected(migrated_postgresql_url) as defer,
    ):

        async def on_the_loop() -> float:
            return await scheduler.call(rate(lambda: scheduler.enqueue("tick", sent=0.5), FEW))

        acts = {
            "enqueue": lambda: rate(lambda: scheduler.enqueue("tick", sent=0.5), FEW),
            "loop": on_the_loop,
            "defer": lambda: rate(lambda: defer(0.5), FEW),
        }
        for _ in range(MANY_ROUNDS + 1):
            for name, act in acts.items():
                before = time.process_time()
                rates[name].append(await act())
                processor[name].append((time.process_time() - before) / FEW * 1000)
    ratio, on_loop = (
        statistics.median(list(map(truediv, rates[name], rates["defer"]))[1:])
        for name in ("enqueue", "loop")
    )
    measured(TOPIC, "ours, PostgreSQL, by turns", "runs created", "runs/s", rates["enqueue"])
    measured(TOPIC, "Procrastinate, by turns", "runs created", "runs/s", rates["defer"])
    costs = {name: f"{statistics.median(values):.3f}" for name, values in processor.items()}
    report(
        f"\nPostgreSQL: {ratio:.2f} of Procrastinate's defer, {on_loop:.2f} on the scheduler's loop; ms of the processor: {costs}"
    )
    assert ratio >= 1.0
    assert on_loop >= 1.0
