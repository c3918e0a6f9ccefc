"""What the tests of this room get."""

from pathlib import Path

import pytest
from targcc_scheduler import migrate


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, on either."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.db'}"
    database_url: str = request.getfixturevalue("postgresql_url")
    return database_url


@pytest.fixture
def new_url(request, url, tmp_path) -> str:
    """A database that this release has made."""
    if url.startswith("sqlite"):
        migrate(f"sqlite:///{tmp_path / 'new.db'}")
        return f"sqlite:///{tmp_path / 'new.db'}"
    made: str = request.getfixturevalue("migrated_postgresql_url")
    return made
