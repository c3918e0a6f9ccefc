"""The scheduler package as it stands in a project, under the name ``rt_jobs``; these tests run it for real against SQLite files."""

import asyncio
import atexit
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "templates" / "project"
HERE = Path(__file__).resolve().parent

PROJECT = '''"""What differs between projects."""

NAME: str = "rt-jobs"
PACKAGE: str = "rt_jobs"
DESCRIPTION: str = ""
TIMEZONE: str = "Europe/Berlin"
DATABASE_URL: str = "sqlite:///rt_jobs.db"
QUEUES: dict[str, int] = {"default": 5, "critical": 2}
QUEUE: str = "default"
RETRIES: int = 3
BACKOFF: str = "30s"
TIMEOUT: str | None = "1h"
GENERATOR_VERSION: str = "0.1.0"
'''


def _build() -> Path:
    """A folder to import ``rt_jobs`` from."""
    source = Path(tempfile.mkdtemp(prefix="rt_jobs-"))
    atexit.register(shutil.rmtree, source, ignore_errors=True)
    package = source / "rt_jobs"
    shutil.copytree(
        TEMPLATE / "src" / "{{ package }}" / "scheduler",
        package / "scheduler",
        ignore=shutil.ignore_patterns("__pycache__", "*.jinja"),
    )
    shutil.copy(ROOT / "generator" / "targcc_gen" / "cron.py", package / "scheduler" / "cron.py")
    (package / "scheduler" / "project.py").write_text(PROJECT)
    shutil.copytree(TEMPLATE / "migrations", package / "migrations")
    (package / "__init__.py").write_text('"""A project."""\n')
    (package / "jobs").mkdir()
    (package / "jobs" / "__init__.py").write_text('"""Its jobs."""\n')
    return source


SOURCE = _build()
sys.path.insert(0, str(SOURCE))

from rt_jobs.scheduler import Scheduler, Settings  # noqa: E402 - built above
from rt_jobs.scheduler.database import migrate  # noqa: E402 - built above


class Database:
    """A SQLite file, and what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def rows(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        """What a query finds."""
        connection = sqlite3.connect(self.path, timeout=20)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def one(self, sql: str, *parameters: Any) -> Any:
        """The only value a query finds."""
        return self.rows(sql, *parameters)[0][0]

    def change(self, sql: str, *parameters: Any) -> None:
        """Change something behind the scheduler's back."""
        connection = sqlite3.connect(self.path, timeout=20)
        with connection:
            connection.execute(sql, parameters)
        connection.close()

    def run(self, run_id: int) -> sqlite3.Row:
        """A row of c_JobRun."""
        return self.rows("SELECT * FROM c_JobRun WHERE Id = ?", run_id)[0]

    def history(self, run_id: int) -> list[sqlite3.Row]:
        """The attempts of a run, oldest first."""
        sql = "SELECT * FROM c_LoggedJob WHERE JobId = ? ORDER BY ID"
        return self.rows(sql, str(run_id))

    def life(self, run_id: int) -> list[str]:
        """The states a run went through."""
        return [line.split()[1] for line in self.run(run_id)["LifeLog"].splitlines()]

    def states(self) -> dict[str, int]:
        """How many runs are in each state."""
        sql = "SELECT State, COUNT(*) FROM c_JobRun GROUP BY State"
        return dict(map(tuple, self.rows(sql)))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "empty.db"
    migrate(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Database:
    shutil.copy(empty_database, tmp_path / "jobs.db")
    return Database(tmp_path / "jobs.db")


QUICK = {
    "migrate_on_start": False,
    "heartbeat_seconds": 0.1,
    "lost_after_seconds": 1.0,
    "shutdown_grace": 0.5,
    "cancel_grace": 0.2,
    "poll_seconds": 0.2,
}


@pytest.fixture
def settings(database: Database) -> Settings:
    return Settings(database_url=database.url, **QUICK)


@pytest.fixture
async def make_scheduler(
    settings: Settings, request: pytest.FixtureRequest
) -> AsyncIterator[Callable[..., Scheduler]]:
    """Schedulers whose jobs are those of the test's own module; they are stopped at the end."""
    made: list[Scheduler] = []

    def make(**options: Any) -> Scheduler:
        mine = {"settings": settings, "jobs_package": request.module.__name__, "notify": _ignore}
        scheduler = Scheduler(**{**mine, **options})
        made.append(scheduler)
        return scheduler

    yield make
    for scheduler in made:
        await scheduler.stop()


@pytest.fixture
async def scheduler(make_scheduler: Callable[..., Scheduler]) -> Scheduler:
    """A scheduler that works but creates no recurring runs."""
    made = make_scheduler()
    await made.start(schedule=False)
    return made


async def _ignore(event: object) -> None:
    """Nobody is told."""


async def until(condition: Callable[[], Any], seconds: float = 15) -> Any:
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.01)
    return value


class NodeProcess:
    """A node in a process of its own, with the jobs of ``fault_jobs.py``."""

    def __init__(self, database: Database, notes: Path, **options: Any) -> None:
        self.notes = notes
        self.log = notes.with_name(f"node-{time.monotonic_ns()}.log")
        environment = {
            **os.environ,
            **{f"TARGCC_{key.upper()}": str(value) for key, value in QUICK.items()},
            "TARGCC_DATABASE_URL": database.url,
            "NOTES": str(notes),
            "PYTHONPATH": os.pathsep.join([str(SOURCE), str(HERE)]),
            **{key: str(value) for key, value in options.items() if key.isupper()},
        }
        arguments = {key: value for key, value in options.items() if not key.isupper()}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", str(HERE / "run_node.py"), json.dumps(arguments)],
                env=environment,
                stdout=log,
                stderr=log,
            )

    async def started(self) -> "NodeProcess":
        """Wait until it is up."""
        await until(lambda: "node is up" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()
        return self

    def said(self) -> str:
        """Its log."""
        return self.log.read_text()

    def kill(self) -> None:
        """End it at once, as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop it without ending it."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    async def terminate(self) -> int:
        """Ask it to stop; returns its exit status."""
        self.process.terminate()
        await until(lambda: self.process.poll() is not None)
        return self.process.returncode


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A file to which jobs in other processes write lines."""
    path = tmp_path / "notes"
    path.touch()
    return path


@pytest.fixture
def start_node(database: Database, notes: Path) -> Iterator[Callable[..., NodeProcess]]:
    nodes: list[NodeProcess] = []

    def start(**options: Any) -> NodeProcess:
        nodes.append(NodeProcess(database, notes, **options))
        return nodes[-1]

    yield start
    for node in nodes:
        if node.process.poll() is None:
            node.thaw()
            node.kill()
