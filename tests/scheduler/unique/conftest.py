"""Fixtures for the unique-run tests."""

import pytest
from targcc_scheduler import Scheduler


@pytest.fixture
def scheduler(not_started: Scheduler) -> Scheduler:
    """A scheduler on either database; tests that need executed runs start it."""
    return not_started
