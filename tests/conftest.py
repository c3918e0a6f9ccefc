"""What every test shares."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import postgresql
import pytest
from hypothesis import HealthCheck, settings
from projects import RIG
from targcc_scheduler import configure, migrate

# A shared machine is slow now and then: that is no property of the code. Benchmarks measure speed.
settings.register_profile(
    "targcc", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("targcc")

os.environ.pop("TARGCC_DATABASE_URL", None)
configure(RIG)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.PostgreSQL]:
    """The server; started by the first test that needs it."""
    with postgresql.running() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql_server: postgresql.PostgreSQL) -> Iterator[str]:
    """An empty database."""
    name = postgresql_server.create()
    yield postgresql_server.url(name)
    postgresql_server.drop(name)


@pytest.fixture(scope="session")
def _postgresql_template(postgresql_server: postgresql.PostgreSQL) -> str:
    name = postgresql_server.create()
    migrate(postgresql_server.url(name))
    return name


@pytest.fixture
def migrated_postgresql_url(
    postgresql_server: postgresql.PostgreSQL, _postgresql_template: str
) -> Iterator[str]:
    """A database with the scheduler's tables."""
    name = postgresql_server.create(_postgresql_template)
    yield postgresql_server.url(name)
    postgresql_server.drop(name)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "jobs.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def migrated_sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    """A file with the scheduler's tables."""
    file = tmp_path / "jobs.db"
    shutil.copy(_sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """A database with the scheduler's tables, on either."""
    url: str = request.getfixturevalue(f"migrated_{request.param}_url")
    return url
