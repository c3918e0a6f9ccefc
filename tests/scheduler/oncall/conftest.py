"""Fixtures for the on-call tests."""

import pytest
from targcc_scheduler import Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """Settings for a scheduler on either database."""
    if request.param == "sqlite":
        url = request.getfixturevalue("database").url
    else:
        url = request.getfixturevalue("migrated_postgresql_url")
    return Settings(database_url=url, heartbeat_seconds=0.2, poll_seconds=0.1, keepalive=False)
