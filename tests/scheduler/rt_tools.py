"""Shared helpers of the runtime tests: a readable database, waiting, nodes in separate processes."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from projects import PATH

HERE = Path(__file__).resolve().parent

QUICK = {
    "migrate_on_start": False,
    "heartbeat_seconds": 0.1,
    "lost_after_seconds": 1.0,
    "shutdown_grace": 0.5,
    "cancel_grace": 0.2,
    "poll_seconds": 0.2,
    "keepalive": False,
}
"""Settings of nodes in the test process; nodes in their own processes have a keepalive process."""


class Database:
    """SQLite file with queries over its tables."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def rows(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        connection = sqlite3.connect(self.path, timeout=20)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def one(self, sql: str, *parameters: Any) -> Any:
        """Return the single value of a query."""
        return self.rows(sql, *parameters)[0][0]

    def change(self, sql: str, *parameters: Any) -> None:
        """Execute a change that the scheduler does not know of."""
        connection = sqlite3.connect(self.path, timeout=20)
        with connection:
            connection.execute(sql, parameters)
        connection.close()

    def run(self, run_id: int) -> sqlite3.Row:
        """Return a row of c_JobRun."""
        return self.rows("SELECT * FROM c_JobRun WHERE Id = ?", run_id)[0]

    def history(self, run_id: int) -> list[sqlite3.Row]:
        """Return the attempts of a run, oldest first."""
        sql = "SELECT * FROM c_LoggedJob WHERE JobId = ? ORDER BY ID"
        return self.rows(sql, str(run_id))

    def life(self, run_id: int) -> list[str]:
        """Return the states that a run went through."""
        return [line.split()[1] for line in self.run(run_id)["LifeLog"].splitlines()]

    def states(self) -> dict[str, int]:
        """Return the number of runs in each state."""
        sql = "SELECT State, COUNT(*) FROM c_JobRun GROUP BY State"
        return dict(map(tuple, self.rows(sql)))


class ServerDatabase(Database):
    """The scheduler's tables on SQL Server, with the same queries."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(folder / "no.db")
        self.url = url

    def rows(self, sql: str, *parameters: Any) -> list[Any]:
        """Return the rows of a query."""
        import sql_server  # not beside the programs of tests

        query = sql_server.Query(sa.make_url(self.url))
        try:
            return query.rows(sql, parameters)
        finally:
            query.close()

    def change(self, sql: str, *parameters: Any) -> None:
        """Execute a change that the scheduler does not know of."""
        self.rows(sql, *parameters)


async def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until a condition holds, and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.01)
    return value


class NodeProcess:
    """Node process with the jobs of ``fault_jobs.py``, or of ``jobs_package``."""

    def __init__(self, database: Database | str, notes: Path, **options: Any) -> None:
        self.notes = notes
        self.log = notes.with_name(f"node-{time.monotonic_ns()}.log")
        environment = {
            **os.environ,
            **{f"TARGCC_{key.upper()}": str(value) for key, value in QUICK.items()},
            "TARGCC_KEEPALIVE": "true",
            "TARGCC_DATABASE_URL": database if isinstance(database, str) else database.url,
            "NOTES": str(notes),
            "PYTHONPATH": PATH,
            **{key: str(value) for key, value in options.items() if key.isupper()},
        }
        arguments = {key: value for key, value in options.items() if not key.isupper()}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "error",
                    str(Path(PATH) / "run_node.py"),
                    json.dumps(arguments),
                ],
                env=environment,
                stdout=log,
                stderr=log,
            )

    async def started(self) -> "NodeProcess":
        """Wait until the node is up."""
        await until(lambda: "node is up" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()
        return self

    def said(self) -> str:
        """Return the node's log."""
        return self.log.read_text()

    def kill(self) -> None:
        """Kill the process, like the kernel when memory is short."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop the process without ending it."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a stopped process continue."""
        self.process.send_signal(signal.SIGCONT)

    async def terminate(self) -> int:
        """Send SIGTERM; return the exit status."""
        self.process.terminate()
        await until(lambda: self.process.poll() is not None)
        return self.process.returncode
