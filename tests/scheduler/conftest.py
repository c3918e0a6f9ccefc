"""Fixtures for all scheduler tests; a folder's own conftest may override them."""

import compiled_once
import pytest
from runtime_fixtures import (
    database,
    empty_database,
    make_scheduler,
    not_started,
    notes,
    scheduler,
    settings,
    start_node,
)
from tsql import collecting

compiled_once.install()
_collector = collecting.install()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the statements that this process has executed, for ``tests/tsql``."""
    if not session.config.getoption("collectonly"):
        _collector.write()
