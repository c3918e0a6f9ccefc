"""Fifty nodes with 20,000 schedules on one PostgreSQL database; run with `-m benchmark -n0 -s`.

Five processes have ten nodes each, with their own loops and connections. The nodes of a process count as nodes of a machine of their own, so that
other nodes judge by the heartbeats alone.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nodes_worker
import postgresql
import psutil
import psycopg
import pytest
from bench_results import NODES, OURS_PG, measured
from psycopg.rows import namedtuple_row
from targcc_scheduler import migrate

pytestmark = pytest.mark.benchmark

PROCESSES, NODES_OF_A_PROCESS = 5, 10
SCHEDULES = int(os.environ.get("BENCH_SCHEDULES", "20000"))
DUE = SCHEDULES // 40
HELD = 200
PERIOD, IDLE_SECONDS, SETTLED_SECONDS = 120.0, 60.0, 40.0
"""Seconds between two slots, of a measurement, and from a slot to the measurement."""
CONNECTIONS = 600
MOST_GROWTH = 1.0
"""Statements a second that a node adds to the load of an idle database."""
MOST_LOST_SECONDS = 30.0
"""The nodes are lost after 20 s."""


def report(line: str) -> None:
    print(f"\n{line}", end="", flush=True)  # noqa: T201 - what the benchmark is for


class Database:
    """The database of the nodes."""

    def __init__(self, server: postgresql.PostgreSQL) -> None:
        self.server = server
        self.url = server.url(server.create())
        migrate(self.url)
        self._connection = psycopg.connect(self.url, autocommit=True, row_factory=namedtuple_row)
        self._name = self._connection.info.dbname

    def one(self, query: str, *values: object) -> Any:
        return self._connection.execute(query, values).fetchone()

    def execute(self, statement: str) -> None:
        self._connection.execute(statement)

    def log_statements(self, *, on: bool) -> None:
        self.execute("ALTER SYSTEM SET log_line_prefix = '%d '")
        self.execute(f"ALTER SYSTEM SET log_statement = '{'all' if on else 'none'}'")
        self.execute("SELECT pg_reload_conf()")

    def statements(self) -> int:
        """Return the number of statements in the server's log."""
        start = f"{self._name} LOG:  ".encode()
        lines = Path(self.server._server.log).read_bytes().splitlines()
        return sum(line.startswith((start + b"statement", start + b"execute")) for line in lines)

    def processor(self) -> float:
        """Return the seconds of processor time of the server's processes."""
        children = psutil.Process(self.server.postmaster).children()
        return sum(sum(child.cpu_times()[:2]) for child in children)


@pytest.fixture
def database() -> Iterator[Database]:
    with postgresql.running() as server:
        server._execute(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}")
        server.stop()
        server.start()
        yield Database(server)


@pytest.fixture
def start(database: Database) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Return a function that starts a process with ten nodes."""
    day = (datetime.now(UTC) + timedelta(days=10)).day

    with ExitStack() as stack:

        def begin(machine: str) -> subprocess.Popen[str]:
            numbers = map(str, (NODES_OF_A_PROCESS, SCHEDULES, DUE, day))
            process = subprocess.Popen(
                [sys.executable, nodes_worker.__file__, database.url, *numbers, machine],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(_end, process)
            return process

        yield begin


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def _wait(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait for a condition; return the seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, what
        time.sleep(0.25)
    return time.monotonic() - began


def _idle(database: Database, processes: list[subprocess.Popen[str]]) -> tuple[float, float, float]:
    """Return statements a second, and processor seconds a second of the server and of the nodes, between two slots."""
    second = time.time() % PERIOD
    fits = SETTLED_SECONDS <= second <= PERIOD - IDLE_SECONDS - 5
    time.sleep(0 if fits else PERIOD - second + SETTLED_SECONDS)
    _wait(lambda: database.one(LAST).pending == 0, 60, "runs are pending")
    of_nodes = [psutil.Process(process.pid) for process in processes]

    def count() -> tuple[float, float, float, float]:
        nodes = sum(sum(node.cpu_times()[:2]) for node in of_nodes)
        return time.monotonic(), database.statements(), database.processor(), nodes

    database.log_statements(on=True)
    time.sleep(1)
    before = count()
    time.sleep(IDLE_SECONDS)
    after = count()
    database.log_statements(on=False)
    seconds, *rates = (late - early for late, early in zip(after, before, strict=True))
    statements, server, nodes = (rate / seconds for rate in rates)
    return statements, server, nodes


def _nodes(database: Database) -> int:
    return int(database.one("SELECT count(*) FROM c_JobServer")[0])


HELD_RUNS = """
    SELECT count(*) AS running, count(*) FILTER (WHERE ServerId LIKE '%%:machine1:%%') AS there
    FROM c_JobRun WHERE JobName = 'Hold' AND State = 'running'
"""
ATTEMPTS = "SELECT sum(LostWorkers + 1) FROM c_JobRun WHERE JobName = 'Hold'"
LAST = """
    SELECT count(*) AS runs, count(DISTINCT ScheduledFor) AS minutes, count(*) FILTER (WHERE State = 'missed') AS missed,
        count(*) FILTER (WHERE State IN ('enqueued', 'running')) AS pending
    FROM c_JobRun WHERE JobName LIKE 'Many%%'
"""
SLOTS = """
    SELECT count(*) AS runs, count(DISTINCT JobName) AS jobs, count(*) FILTER (WHERE State = 'succeeded') AS succeeded
    FROM c_JobRun WHERE JobName LIKE 'Many%%' AND ScheduledFor = %s
"""


def test_fifty_nodes_with_twenty_thousand_schedules(database, start):
    began = time.monotonic()
    processes = [start("machine0")]
    assert processes[0].stdout.readline() == "ready\n"
    ten = _idle(database, processes)
    report(
        f"  10 nodes, idle: {ten[0]:.1f} statements/s, {ten[1]:.3f} cores of PostgreSQL, {ten[2]:.3f} of the nodes"
    )
    for number in range(1, PROCESSES):  # one after the other: the nodes of a process share a core
        processes.append(start(f"machine{number}"))
        assert processes[-1].stdout.readline() == "ready\n"
    count = PROCESSES * NODES_OF_A_PROCESS
    assert _nodes(database) == count
    report(f"  {count} nodes have started after {time.monotonic() - began:.0f} s")
    fifty = _idle(database, processes)
    report(
        f"  {count} nodes, idle: {fifty[0]:.1f} statements/s, {fifty[1]:.3f} cores of PostgreSQL, {fifty[2]:.3f} of the nodes"
    )
    growth = (fifty[0] - ten[0]) / (count - NODES_OF_A_PROCESS)
    report(f"  growth: {growth:.2f} statements/s a node; {fifty[0] / count:.2f} on average")

    # Slots that are due on all nodes at once.
    slot = datetime.fromtimestamp((time.time() // PERIOD + 1) * PERIOD, UTC)
    time.sleep(max(slot.timestamp() - time.time(), 0))
    created = _wait(
        lambda: database.one(SLOTS, slot).succeeded == DUE, PERIOD - 10, "not all slots have runs"
    )
    report(f"  {DUE:,} slots of {count} nodes: all runs have succeeded after {created:.1f} s")

    # Ten nodes are lost at once, with their runs.
    processes[0].stdin.write(f"{HELD}\n")
    processes[0].stdin.flush()
    _wait(lambda: database.one(HELD_RUNS).running == HELD, 60, "not all runs have begun")
    lost = database.one(HELD_RUNS).there
    assert lost > 0
    processes[1].kill()
    over = _wait(
        lambda: database.one(HELD_RUNS) == (HELD, 0), 60, "the runs of lost nodes do not run"
    )
    remaining = count - NODES_OF_A_PROCESS
    _wait(lambda: _nodes(database) == remaining, 60, "lost nodes are still registered")
    assert database.one(ATTEMPTS)[0] == HELD + lost
    report(f"  {NODES_OF_A_PROCESS} nodes lost: their {lost} runs run elsewhere after {over:.1f} s")

    # Every slot up to now, whoever was there.
    _wait(lambda: database.one(LAST).pending == 0, 120, "runs wait for ever")
    slots = database.one(LAST)
    assert slots.runs == DUE * slots.minutes
    assert slots.missed == 0

    measured(NODES, OURS_PG, "idle, growth a node", "statements/s", [growth])
    measured(NODES, OURS_PG, "idle, 50 nodes", "statements/s", [fifty[0]])
    measured(NODES, OURS_PG, "idle, 50 nodes, PostgreSQL", "% of a core", [fifty[1] * 100])
    measured(NODES, OURS_PG, "500 slots due at once, all runs done", "s", [created])
    measured(NODES, OURS_PG, "ten nodes lost at once, runs begun elsewhere", "s", [over])
    assert growth < MOST_GROWTH
    assert over < MOST_LOST_SECONDS
