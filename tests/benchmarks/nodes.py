"""``uv run python tests/benchmarks/nodes.py``: what many nodes with many schedules cost PostgreSQL, whether a slot runs once, and fail-over.

Each process has ten nodes on one event loop. The statements are those in PostgreSQL's log, without BEGIN and COMMIT; the transactions are those
that PostgreSQL counts. Three parts follow each other in one database:

* idle: statements a second with one process, and with all;
* slots: jobs that are due at the same minute, each with one run;
* fail-over: one process, with ten nodes, is suspended while its nodes execute runs, until other nodes execute all of these runs. A node on the
  same machine would see at once that a process has ended; one that is suspended is like one that the network has lost.

The exit status is 1 if a slot has more or less than one execution, or if the lost nodes executed no run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

# ruff: noqa: E402, T201 - found by the line above; a command prints
import psutil
import psycopg
from bench_processes import start, wait_until_ready
from postgresql import PostgreSQL
from targcc_scheduler import Scheduler, Settings, configure, migrate
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.definition import JobDefinition
from targcc_scheduler.project import Project

NODES = 10
"""Nodes of a process."""
QUEUE_WORKERS = 4
WAIT_SECONDS = 300.0
STATEMENT = re.compile(
    rb"^[^|\n]+\|LOG:  duration: [\d.]+ ms  (?:execute [^:]*|statement): (?!BEGIN|COMMIT|ROLLBACK)",
    re.MULTILINE,
)
"""The log's line about a statement of a node, simple or prepared."""
TOGETHER = "Together"
HELD = "Held"

configure(
    Project(
        name="nodes", package="nodes", timezone="UTC", queues={"default": QUEUE_WORKERS}, retries=0
    )
)


async def nothing() -> None:
    """Do nothing."""


async def until_the_gate(gate: str) -> None:
    """Wait until a file exists."""
    while not Path(gate).exists():  # noqa: ASYNC110, ASYNC240 - another process makes the file
        await asyncio.sleep(0.2)


def jobs_of(schedules: int, slots: int, minute: datetime) -> list[JobDefinition]:
    """Return the jobs: ``slots`` are due at ``minute``, the other schedules in the hours from two hours later on."""
    together = f"{minute.minute} {minute.hour} * * *"
    jobs = [define(nothing, together, name=f"{TOGETHER}{n}") for n in range(slots)]
    for n in range(schedules - slots):
        hour = (minute.hour + 2 + n % 20) % 24
        jobs.append(define(nothing, f"{n % 60} {hour} * * *", name=f"Other{n}"))
    return [*jobs, define(until_the_gate, name=HELD)]


def scheduler_of(url: str, jobs: Sequence[JobDefinition]) -> Scheduler:
    """Return a node with these jobs."""
    settings = Settings(_env_file=None, database_url=url, migrate_on_start=False, pool_size=4)
    scheduler = Scheduler(settings, jobs_package="ties_plain")
    for job in jobs:
        scheduler._registry.add(job)
    return scheduler


async def work(url: str, jobs: Sequence[JobDefinition]) -> None:
    """Run the nodes of a process until the input ends."""
    async with AsyncExitStack() as running:
        for _ in range(NODES):
            await running.enter_async_context(scheduler_of(url, jobs))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


class Server(PostgreSQL):
    """A server for 600 connections that logs each statement."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)  # the server may run as another user
        super().__init__(folder)
        self.configure(max_connections="600", log_line_prefix="%a|", log_min_duration_statement="0")

    def statements(self) -> int:
        """Return the number of statements that the nodes have sent, without BEGIN and COMMIT."""
        return len(STATEMENT.findall(self._server.log.read_bytes()))


class Bench:
    """The processes and their database."""

    def __init__(self, server: Server, options: argparse.Namespace) -> None:
        self._server = server
        self._options = options
        self.url = server.url(server.create())
        migrate(self.url)
        self.minute = _full(datetime.now(UTC)) + timedelta(minutes=options.minutes)
        self.processes: list[subprocess.Popen[str]] = []
        self._connection = psycopg.connect(self.url, autocommit=True)

    def start(self, processes: int) -> None:
        """Start processes."""
        options = self._options
        words = ["--schedules", str(options.schedules), "--slots", str(options.slots)]
        words += ["--work", self.url, "--minute", self.minute.isoformat()]
        new = [start(__file__, *words, PGAPPNAME="nodes") for _ in range(processes)]
        self.processes += new
        for process in new:
            wait_until_ready(process)

    def idle(self) -> float:
        """Measure the idle nodes and print the figures; return the statements a second."""
        time.sleep(self._options.settle)
        before, began = self._figures(), time.monotonic()
        time.sleep(self._options.seconds)
        after, seconds = self._figures(), time.monotonic() - began
        statements, transactions, nodes, server = (
            (b - a) / seconds for a, b in zip(before, after, strict=True)
        )
        count = NODES * len(self.processes)
        print(
            f"{count:3} idle nodes: {statements:6.1f} statements and {transactions:5.1f} transactions a second;"
            f" {nodes * 100:.0f} % of a core for the nodes, {server * 100:.0f} % for the server; load {os.getloadavg()[0]:.0f}",
            flush=True,
        )
        return statements

    def _figures(self) -> tuple[float, float, float, float]:
        transactions = self.one(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        )
        nodes = sum(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in self.processes)
        children = psutil.Process(self._server.postmaster).children()
        server = sum(sum(child.cpu_times()[:2]) for child in children)
        return self._server.statements(), transactions, nodes, server

    def slots(self) -> bool:
        """Wait for the runs of the slots and print how often each was executed; return whether each was once."""
        wait = (self.minute - datetime.now(UTC)).total_seconds()
        if wait < 0:
            print("the slots were due before the nodes were measured: use --minutes")
        done = (
            "SELECT count(*) FROM c_JobRun WHERE JobName LIKE 'Together%' AND State = 'succeeded'"
        )
        wanted = self._options.slots
        self.until(lambda: self.one(done) >= wanted, "the slots' runs", max(wait, 0) + WAIT_SECONDS)
        last = self.one("SELECT max(CompletedAt) FROM c_JobRun WHERE JobName LIKE 'Together%'")
        runs = self.one("SELECT count(*) FROM c_JobRun WHERE JobName LIKE 'Together%'")
        jobs = self.one(
            "SELECT count(DISTINCT (JobName, ScheduledFor)) FROM c_JobRun WHERE JobName LIKE 'Together%'"
        )
        executed = self.one("SELECT count(*) FROM c_LoggedJob WHERE JobName LIKE 'Together%'")
        took = (last - self.minute).total_seconds()
        print(
            f"{jobs} slots due together: {runs} runs, {executed} executions, done {took:.1f} s after they were due",
            flush=True,
        )
        return bool(wanted == jobs == runs == executed)

    def fail_over(self, gate: Path) -> bool:
        """Suspend a process while its nodes execute runs; print after how many seconds other nodes execute all of these runs."""
        asyncio.run(self._hold(gate))
        running = "SELECT count(*) FROM c_JobRun WHERE JobName = 'Held' AND State = 'running'"
        self.until(lambda: self.one(running) == self._options.held, "held runs begin")
        lost = self.processes.pop()
        theirs = "SELECT count(*) FROM c_JobRun WHERE JobName = 'Held' AND ServerId LIKE %s"
        mark = f"%:{lost.pid}:%"
        count = self.one(theirs, mark)
        began = time.monotonic()
        others = f"{running} AND ServerId NOT LIKE %s"
        try:
            psutil.Process(lost.pid).suspend()
            self.until(lambda: self.one(others, mark) == self._options.held, "runs elsewhere")
        finally:
            lost.kill()
            lost.communicate()
        print(
            f"{NODES} nodes with {count} runs are lost: other nodes execute all runs after {time.monotonic() - began:.1f} s",
            flush=True,
        )
        gate.touch()
        succeeded = running.replace("running", "succeeded")
        self.until(lambda: self.one(succeeded) == self._options.held, "held runs succeed")
        return bool(count > 0)

    async def _hold(self, gate: Path) -> None:
        scheduler = scheduler_of(self.url, jobs_of(0, 0, self.minute))
        await scheduler.enqueue_many(HELD, [{"gate": str(gate)}] * self._options.held)
        await scheduler.stop()

    def one(self, query: str, *values: str) -> Any:
        """Return the single value of a query."""
        row = self._connection.execute(query, values or None).fetchone()
        assert row is not None
        return row[0]

    def until(
        self, condition: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS
    ) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"{what}: not within {seconds:.0f} s")
            time.sleep(0.2)

    def end(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.communicate()
        self._connection.close()


def _full(time_: datetime) -> datetime:
    return time_.replace(second=0, microsecond=0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/nodes.py", description=__doc__)
    parser.add_argument("--processes", type=int, default=5, help="of ten nodes each")
    parser.add_argument("--schedules", type=int, default=20_000)
    parser.add_argument("--slots", type=int, default=500, help="schedules that are due together")
    parser.add_argument("--held", type=int, default=150, help="runs in progress at the fail-over")
    parser.add_argument("--settle", type=float, default=30.0, help="seconds before idle figures")
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds of idle figures")
    parser.add_argument("--minutes", type=int, default=8, help="until the slots are due")
    parser.add_argument("--work", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--minute", type=datetime.fromisoformat, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        asyncio.run(work(options.work, jobs_of(options.schedules, options.slots, options.minute)))
        return 0
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        closing(Server(Path(name))) as server,
    ):
        bench = Bench(server, options)
        try:
            bench.start(1)
            few = bench.idle()
            bench.start(options.processes - 1)
            many = bench.idle()
            more = NODES * (options.processes - 1)
            print(f"each of {more} more nodes: {(many - few) / more:.2f} statements a second")
            once = bench.slots()
            return 0 if bench.fail_over(Path(name) / "gate") and once else 1
        finally:
            bench.end()


if __name__ == "__main__":
    raise SystemExit(main())
