"""What the tests of this room get."""

import pytest
from targcc_scheduler import Scheduler


@pytest.fixture
def scheduler(not_started: Scheduler) -> Scheduler:
    """On either database; started by those tests that want runs performed."""
    return not_started
