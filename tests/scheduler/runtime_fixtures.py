"""Schedulers on SQLite files with the jobs of the test's module, and nodes in separate processes."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import sql_server
from rt_tools import QUICK, Database, NodeProcess, ServerDatabase
from targcc_scheduler import Scheduler, Settings
from targcc_scheduler.core import masking
from targcc_scheduler.kernel.node.maintenance import Maintenance


@pytest.fixture(scope="session")
def empty_database(_sqlite_template: Path) -> Path:
    """Return a file with the scheduler's tables, to be copied."""
    return _sqlite_template


@pytest.fixture
def database(tmp_path: Path, empty_database: Path, request: pytest.FixtureRequest) -> Database:
    """A SQLite file with the scheduler's tables; SQL Server where ``TARGCC_TEST_STORE`` says so."""
    if sql_server.STORE:
        return ServerDatabase(request.getfixturevalue("migrated_mssql_url"), tmp_path)
    shutil.copy(empty_database, tmp_path / "jobs.db")
    return Database(tmp_path / "jobs.db")


@pytest.fixture(autouse=True)
def secrets_of_its_own() -> Iterator[None]:
    """Forget the secrets that a test has made known, so that no later test passes or fails by them."""
    before = {name: copy(value) for name, value in vars(masking.KNOWN).items() if name != "_lock"}
    yield
    vars(masking.KNOWN).update(before)


@pytest.fixture
def no_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep nodes from sweeping, for tests that write what a sweep mends; the first sweep comes at any time after the start."""

    async def nothing(_: Maintenance) -> None:
        """Sweep nothing."""

    monkeypatch.setattr(Maintenance, "sweep_once", nothing)


@pytest.fixture(scope="module")
def shared_database(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Path, request: pytest.FixtureRequest
) -> Database:
    """One database for the tests of a module, of the kind of :func:`database`."""
    folder = tmp_path_factory.mktemp("shared")
    if sql_server.STORE:
        return ServerDatabase(request.getfixturevalue("_sql_servers").emptied().url, folder)
    shutil.copy(empty_database, folder / "jobs.db")
    return Database(folder / "jobs.db")


@pytest.fixture
def settings(database: Database) -> Settings:
    return Settings(database_url=database.url, **QUICK)


@pytest.fixture
async def make_scheduler(
    settings: Settings, request: pytest.FixtureRequest
) -> AsyncIterator[Callable[..., Scheduler]]:
    """Return a function that makes schedulers with the jobs of the test's module; stop the schedulers at the end."""
    made: list[Scheduler] = []

    def make(**options: Any) -> Scheduler:
        defaults = {
            "settings": settings,
            "jobs_package": request.module.__name__,
            "notify": _ignore,
        }
        scheduler = Scheduler(**{**defaults, **options})
        made.append(scheduler)
        return scheduler

    yield make
    for scheduler in made:
        await scheduler.stop()


@pytest.fixture
async def scheduler(make_scheduler: Callable[..., Scheduler]) -> Scheduler:
    """A working scheduler that creates no recurring runs."""
    made = make_scheduler()
    await made.start(schedule=False)
    return made


@pytest.fixture
async def not_started(
    migrated_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[Scheduler]:
    """A scheduler on either database that the test starts; its jobs are those of the test's module."""
    settings = Settings(database_url=migrated_url, migrate_on_start=False)
    made = Scheduler(settings, jobs_package=request.module.__name__, notify=_ignore)
    yield made
    await made.stop()


async def _ignore(event: object) -> None:
    """Send no alerts."""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """File that jobs in other processes write lines to."""
    path = tmp_path / "notes"
    path.touch()
    return path


@pytest.fixture
def start_node(
    processes: None, database: Database, notes: Path  # noqa: ARG001 - ring 2
) -> Iterator[Callable[..., NodeProcess]]:
    nodes: list[NodeProcess] = []

    def start(**options: Any) -> NodeProcess:
        nodes.append(NodeProcess(database, notes, **options))
        return nodes[-1]

    yield start
    for node in nodes:
        if node.process.poll() is None:
            node.thaw()
            node.kill()
