"""``uv run python tests/benchmarks/workers.py``: runs a second, and what a run costs, with 1, 2, 4 and 8 worker processes on PostgreSQL.

Each measurement has a database of its own. After some runs for each process as a warm-up, runs are created in a paused queue, which then
resumes. Rounds alternate; each figure is a median. Besides the rate, which depends on the load of the machine, the table shows processor
time of the workers and of the server, and the transactions and changed rows that PostgreSQL counts.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

# ruff: noqa: E402, T201 - found by the line above; a command prints
import psutil
import psycopg
from bench_processes import start, wait_until_ready
from postgresql import PostgreSQL
from targcc_scheduler import Scheduler, Settings, configure, migrate
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.project import Project

QUEUE_WORKERS = 20
WAIT_SECONDS = 300.0
WARM_UP_RUNS = 400
"""Runs for each process before the measurement: its first runs import, compile and plan statements."""
Measures = dict[str, float]
Beside = Callable[[subprocess.Popen[str]], AbstractContextManager[None]]

configure(
    Project(
        name="workers",
        package="workers",
        timezone="UTC",
        queues={"default": QUEUE_WORKERS},
        retries=0,
    )
)


def scheduler_of(url: str) -> Scheduler:
    """Return a scheduler with the job that does nothing."""
    settings = Settings(_env_file=None, database_url=url, migrate_on_start=False)
    return Scheduler(settings, jobs_package="ties_plain")


async def work(url: str) -> None:
    """Work until the input ends."""
    async with scheduler_of(url):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


class Bench:
    """Measurements on one server.

    Args:
        server: The server.
        count: The number of runs to measure.
        beside: A context for the measured runs, given the first worker's process.
    """

    def __init__(
        self, server: PostgreSQL, count: int, beside: Beside = lambda _: nullcontext()
    ) -> None:
        self._server = server
        self._count = count
        self._beside = beside

    def measure(self, workers: int) -> Measures:
        """Return the figures of a number of workers."""
        name = self._server.create()
        url = self._server.url(name)
        migrate(url)
        processes = [start(__file__, "--work", url) for _ in range(workers)]
        try:
            for process in processes:
                wait_until_ready(process)
            return self._measured(url, processes)
        finally:
            for process in processes:
                process.communicate()
            self._server.drop(name)

    def _measured(self, url: str, processes: Sequence[subprocess.Popen[str]]) -> Measures:
        with psycopg.connect(url, autocommit=True) as connection:

            def number(query: str) -> float:
                row = connection.execute(query).fetchone()
                return float(row[0]) if row is not None else 0.0

            def spent() -> Measures:
                children = psutil.Process(self._server.postmaster).children()
                of_workers = [psutil.Process(process.pid) for process in processes]
                return {
                    "workers": sum(sum(item.cpu_times()[:2]) for item in of_workers) * 1000,
                    "server": sum(sum(item.cpu_times()[:2]) for item in children) * 1000,
                    "transactions": number(TRANSACTIONS),
                    "rows": number(ROWS),
                }

            since = 0.0
            warm_up = WARM_UP_RUNS * len(processes), lambda _: nullcontext()
            for count, beside in (warm_up, (self._count, self._beside)):
                since = number(NEWEST)
                asyncio.run(self._create(url, count))
                before = spent()
                with beside(processes[0]):
                    asyncio.run(self._resume(url))
                    asyncio.run(_until(lambda: number(LEFT) == 0))
                asyncio.run(asyncio.sleep(2))  # PostgreSQL counts after a second
                after = spent()
            seconds = number(SECONDS.format(since))
            each = {key: (after[key] - before[key]) / self._count for key in before}
            return {"rate": self._count / seconds, **each}

    async def _create(self, url: str, count: int) -> None:
        scheduler = scheduler_of(url)
        await scheduler.start(work=False, schedule=False)
        await scheduler.pause_queue("default", by=SYSTEM)
        await scheduler.enqueue_many("Plain", [{"number": n} for n in range(count)])
        await scheduler.stop()
        await asyncio.sleep(2)  # PostgreSQL counts after a second

    async def _resume(self, url: str) -> None:
        scheduler = scheduler_of(url)
        await scheduler.resume_queue("default", by=SYSTEM)
        await scheduler.stop()


async def _until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - the tables say it
            await asyncio.sleep(0.1)


TRANSACTIONS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
ROWS = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"
LEFT = "SELECT count(*) FROM c_JobRun WHERE CompletedAt IS NULL"
NEWEST = "SELECT coalesce(max(Id), 0) FROM c_JobRun"
SECONDS = "SELECT extract(epoch FROM max(CompletedAt) - min(StartedAt)) FROM c_JobRun WHERE Id > {}"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/workers.py", description=__doc__)
    parser.add_argument("--work", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8])
    options = parser.parse_args()
    if options.work:
        asyncio.run(work(options.work))
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        server = PostgreSQL(folder)
        measures: dict[int, list[Measures]] = {number: [] for number in options.workers}
        try:
            bench = Bench(server, options.count)
            for _ in range(options.rounds):
                for number, samples in measures.items():
                    samples.append(bench.measure(number))
                    print(
                        number,
                        {key: round(value, 3) for key, value in samples[-1].items()},
                        flush=True,
                    )
        finally:
            server.stop()
    print(
        "| workers | runs/s | ms of the workers | ms of PostgreSQL | transactions | changed rows |"
    )
    print("|---|---|---|---|---|---|")
    for number, samples in measures.items():
        rate, *rest = (median(sample[key] for sample in samples) for key in samples[0])
        print(f"| {number} | {rate:,.0f} | {' | '.join(f'{value:.2f}' for value in rest)} |")


if __name__ == "__main__":
    main()
