"""What the tests of this room get."""

from pathlib import Path

import pytest
import sql_server
from targcc_scheduler import migrate


@pytest.fixture(params=["sqlite", "postgresql", *sql_server.PARAMS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, on either."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.db'}"
    database_url: str = request.getfixturevalue(f"{request.param}_url")
    return database_url


@pytest.fixture
def new_url(request, url, tmp_path) -> str:
    """A database that this release has made."""
    if url.startswith("sqlite"):
        migrate(f"sqlite:///{tmp_path / 'new.db'}")
        return f"sqlite:///{tmp_path / 'new.db'}"
    kind = "postgresql" if url.startswith("postgresql") else "mssql"
    made: str = request.getfixturevalue(f"migrated_{kind}_url")
    return made
