"""Fixtures and hooks for every test."""

import gc
import os
import re
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import sql_server
from hypothesis import HealthCheck, settings
from projects import RIG
from targcc_scheduler import configure

if TYPE_CHECKING:
    from postgresql import PostgreSQL
    from sql_server import Databases

pytest_plugins = ["rings", "touched"]

gc.disable()  # until the collection is done: imported modules stay anyway

# A shared machine is slow at times, which says nothing about the code. Benchmarks measure speed.
settings.register_profile(
    "thorough", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("quick", settings.get_profile("thorough"), max_examples=40)
settings.load_profile(os.environ.get("TARGCC_TEST_PROFILE", "quick"))

LONGEST = (
    "tests/e2e/",
    "tests/storms/test_storms.py",
    "tests/generator/sync/test_year.py",
    "tests/generator/render/test_every_spec.py",
    "tests/scheduler/web/test_timings.py",
    "tests/scheduler/web/test_doors.py::test_six_thousand_odd_requests",
    "tests/scheduler/node/test_soak.py",
)

os.environ.pop("TARGCC_DATABASE_URL", None)
os.environ["TARGCC_KEEPALIVE"] = (
    "false"  # a process per scheduler within the test process; the node rigs enable it
)
os.environ["TARGCC_MODE"] = "embedded"  # schedulers are off under pytest by default
configure(RIG)

# Tests write a hundred thousand small files and hundreds of databases: in memory, if the system has such a folder with enough room.
MEMORY, ROOM = Path("/dev/shm"), 8 << 30
if (
    "TMPDIR" not in os.environ
    and MEMORY.is_dir()
    and min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ROOM
):
    os.environ["TMPDIR"] = str(MEMORY)
    os.environ.setdefault("UV_LINK_MODE", "copy")  # uv's cache is on a disk
    tempfile.tempdir = None  # pytest has read the folder already

# Test processes take as long to compile their imports as to run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """In a new clone, let the first worker collect alone; the other workers then load the compiled files, so that each file is compiled once."""
    from rings import are_compiled  # pytest has registered the plugin by now

    me, run = (os.environ.get(f"PYTEST_XDIST_{name}", "") for name in ("WORKER", "TESTRUNUID"))
    collected = Path(tempfile.gettempdir()) / f"targcc-collected-{run}"
    deadline = time.monotonic() + 60
    waits = me not in {"", "gw0"} and not are_compiled(Path(__file__).parent / "unit")
    while waits and not collected.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        return (yield)
    finally:
        gc.enable()
        if me == "gw0":
            collected.touch()


def pytest_testnodedown(node: object) -> None:
    """Remove the file of the finished collection."""
    run = node.workerinput["testrunuid"]
    (Path(tempfile.gettempdir()) / f"targcc-collected-{run}").unlink(missing_ok=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the variants that ``left_to_soak.txt`` names, and start with the longest tests, so that none runs alone at the end."""
    from rings import LEFT_TO_SOAK  # pytest has registered the plugin by now

    by_file: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        by_file[item.nodeid.partition("::")[0]].append(item)
    whole_files = not any("::" in word for word in config.args) and not config.getoption(
        "lf", default=False
    )
    for line in LEFT_TO_SOAK.read_text(encoding="utf-8").splitlines():
        file = line.partition("::")[0]
        if line.startswith("#") or file not in by_file:
            continue
        fits = re.compile(".*".join(map(re.escape, line.split("*")))).fullmatch
        matches = [item for item in by_file[file] if fits(item.nodeid)]
        if whole_files and not matches:
            raise pytest.UsageError(f"{LEFT_TO_SOAK.name} names a test that is not there: {line}")
        for item in matches:
            item.add_marker(pytest.mark.soak)
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_collection_finish() -> None:
    """Exclude the thousands of collected tests from garbage collections, and make collections during tests rare."""
    gc.freeze()
    gc.set_threshold(100_000)


def pytest_unconfigure() -> None:
    """Collect garbage once; otherwise pytest collects five times over everything ever imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give programs a state folder of the tests' own, also in child processes."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def processes() -> None:
    """Let a test start processes: it belongs to ring 2; see ``rings.py``."""


@pytest.fixture(scope="session")
def postgresql_server() -> "Iterator[PostgreSQL]":
    """The PostgreSQL server, started by the first test that needs it."""
    import postgresql

    with postgresql.running() as server:
        yield server


def _forbid_in_ring_1(request: pytest.FixtureRequest) -> None:
    from rings import forbid_postgresql  # pytest has registered the plugin by now

    forbid_postgresql(request)


@pytest.fixture
def postgresql_url(
    postgresql_server: "PostgreSQL", request: pytest.FixtureRequest
) -> Iterator[str]:
    """URL of an empty database."""
    _forbid_in_ring_1(request)
    name = postgresql_server.create()
    yield postgresql_server.url(name)
    postgresql_server.drop(name)


def _migrate(url: str) -> None:
    from targcc_scheduler import migrate  # imports SQLAlchemy and Alembic too

    migrate(url)


@pytest.fixture(scope="session")
def _postgresql_template(postgresql_server: "PostgreSQL") -> str:
    name = postgresql_server.create()
    _migrate(postgresql_server.url(name))
    return name


@pytest.fixture
def migrated_postgresql_url(
    postgresql_server: "PostgreSQL", _postgresql_template: str, request: pytest.FixtureRequest
) -> Iterator[str]:
    """URL of a PostgreSQL database with the scheduler's tables."""
    _forbid_in_ring_1(request)
    name = postgresql_server.create(_postgresql_template)
    yield postgresql_server.url(name)
    postgresql_server.drop(name)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "jobs.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def migrated_sqlite_url(
    tmp_path: Path, _sqlite_template: Path, request: pytest.FixtureRequest
) -> str:
    """URL of a SQLite file with the scheduler's tables; of SQL Server where ``TARGCC_TEST_STORE`` says so."""
    if sql_server.STORE:
        return str(request.getfixturevalue("migrated_mssql_url"))
    file = tmp_path / "jobs.db"
    shutil.copy(_sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture(scope="session")
def _sql_servers() -> "Iterator[Databases]":
    """Databases on the server that ``TARGCC_TEST_SQL_SERVER`` names."""
    databases = sql_server.Databases()
    yield databases
    databases.close()


@pytest.fixture
def mssql_url() -> "Iterator[str]":
    """URL of an empty database of SQL Server."""
    with sql_server.unmigrated() as url:
        yield url


@pytest.fixture
def migrated_mssql_url(_sql_servers: "Databases") -> str:
    """URL of a database of SQL Server with the scheduler's tables."""
    return _sql_servers.emptied().url


@pytest.fixture(params=["sqlite", "postgresql", *sql_server.PARAMS])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """URL of a database with the scheduler's tables, on either database."""
    url: str = request.getfixturevalue(f"migrated_{request.param}_url")
    return url
