"""Cost of a run on SQLite, compared with SQLite itself in the same run; run with `-m benchmark -n0 -s`."""

import asyncio
import sqlite3
import statistics
import time
from datetime import datetime
from pathlib import Path

import pytest
from bench_results import ONE_PROCESS, OURS_LITE, measured
from targcc_scheduler import JobContext, Scheduler, Settings, job, migrate

pytestmark = pytest.mark.benchmark


@job()
class TinyJob:
    async def execute(self, ctx: JobContext) -> None:
        """Do nothing, so that the scheduler uses all the time."""


def report(line: str) -> None:
    print(f"\n{line}", end="")  # noqa: T201 - what the benchmark is for


@pytest.fixture
async def scheduler(tmp_path):
    url = f"sqlite:///{tmp_path / 'bench.db'}"
    migrate(url)
    made = Scheduler(Settings(database_url=url, migrate_on_start=False), jobs_package=__name__)
    yield made
    await made.stop()


def _rows(scheduler: Scheduler, sql: str) -> list[tuple[str, ...]]:
    path = scheduler.settings.database_url.removeprefix("sqlite:///")
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def _transactions_per_second(path: Path, count: int = 2000) -> float:
    """Return the rate of SQLite alone with two transactions a run, the minimum of any queue."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
        "CREATE TABLE run (id INTEGER PRIMARY KEY, state TEXT); CREATE TABLE history (id INTEGER PRIMARY KEY, run INT)"
    )
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO run (state) VALUES (?)", [("enqueued",)] * count)
    connection.execute("COMMIT")
    started = time.perf_counter()
    for number in range(1, count + 1):
        connection.execute("UPDATE run SET state = 'running' WHERE id = ?", (number,))
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE run SET state = 'succeeded' WHERE id = ?", (number,))
        connection.execute("INSERT INTO history (run) VALUES (?)", (number,))
        connection.execute("COMMIT")
    taken = time.perf_counter() - started
    connection.close()
    return count / taken


async def test_runs_per_second(scheduler, tmp_path):
    count = 3000
    for _ in range(count):
        last = await scheduler.enqueue(TinyJob)
    started, used = time.perf_counter(), time.process_time()
    await scheduler.start(schedule=False)
    await scheduler.wait(last, 120)
    rate = count / (time.perf_counter() - started)
    cost = (time.process_time() - used) / count * 1000
    raw = _transactions_per_second(tmp_path / "raw.db")
    measured(ONE_PROCESS, OURS_LITE, "runs done", "runs/s", [rate])
    measured(ONE_PROCESS, OURS_LITE, "processor", "ms", [cost])
    report(
        f"{rate:.0f} runs/s, {cost:.2f} ms of processor each; SQLite alone {raw:.0f}: {rate / raw:.0%}"
    )
    # The aim is 500 a second; on a shared machine the limit is a share of the rate of SQLite alone.
    assert rate >= min(500, raw * 0.01)


async def test_overhead_of_one_run_and_time_from_due_to_started(scheduler):
    await scheduler.start(schedule=False)
    for _ in range(300):
        await scheduler.wait(await scheduler.enqueue(TinyJob), 10)
    instants = [
        [datetime.fromisoformat(value) for value in row]
        for row in _rows(scheduler, "SELECT DueAt, StartedAt, CompletedAt FROM c_JobRun")
    ]
    begun = sorted((start - due).total_seconds() * 1000 for due, start, _ in instants)
    whole = statistics.median((end - start).total_seconds() * 1000 for _, start, end in instants)
    settled = [(end - start).total_seconds() * 1000 for _, start, end in instants]
    measured(ONE_PROCESS, OURS_LITE, "from due to started", "ms", begun)
    measured(ONE_PROCESS, OURS_LITE, "from started to settled", "ms", settled)
    half, most = begun[len(begun) // 2], begun[len(begun) * 99 // 100]
    report(
        f"from due to started {half:.1f} ms (99%: {most:.1f}), from started to settled {whole:.1f} ms"
    )
    # The aims are 5, 20 and 250 ms; the slack is for shared machines.
    assert whole <= 15
    assert half <= 60
    assert most <= 750


async def test_an_idle_node_with_a_thousand_schedules(scheduler):
    for number in range(1000):
        cron = f"{number % 60} {number % 24} * * *"
        scheduler.add_recurring(f"job-{number}", lambda: None, cron)
    started = time.perf_counter()
    await scheduler.start()
    ready = time.perf_counter() - started
    await asyncio.sleep(2)
    used, since = time.process_time(), time.perf_counter()
    await asyncio.sleep(10)
    share = (time.process_time() - used) / (time.perf_counter() - since)
    measured(ONE_PROCESS, OURS_LITE, "ready with 1,000 jobs", "s", [ready])
    measured(ONE_PROCESS, OURS_LITE, "idle", "% of a core", [share * 100])
    report(f"ready after {ready:.2f} s with 1,000 jobs; idle it takes {share:.2%} of a core")
    # The aims are 2 s and 1 %; the slack is for shared machines.
    assert ready < 6
    assert share < 0.03
