"""Fixtures for all scheduler tests; a folder's own conftest may override them."""

import os

import compiled_once
import pytest
from runtime_fixtures import (
    database,
    empty_database,
    make_scheduler,
    no_sweeps,
    not_started,
    notes,
    scheduler,
    secrets_of_its_own,
    settings,
    shared_database,
    start_node,
)

compiled_once.install()
_collector = None
if os.environ.get("TARGCC_TEST_TSQL"):  # it costs a third more processor time
    from tsql import collecting

    _collector = collecting.install()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the statements that this process has executed, for ``tests/tsql``."""
    if _collector is not None and not session.config.getoption("collectonly"):
        _collector.write()
