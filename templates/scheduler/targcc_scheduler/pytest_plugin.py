"""Fixtures for the tests of an application with jobs.

Under a test runner schedulers are off: nothing runs, nothing connects, and what is enqueued is recorded. ``enqueued`` looks at the record;
``scheduler`` runs what is enqueued. Where the scheduler is installed as a package, pytest finds this module by itself; with a copy of it,
``pytest_plugins = ["acme.scheduler.pytest_plugin"]`` in the topmost ``conftest.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .fake import Recorded
    from .scheduler import Scheduler


@pytest.fixture
def enqueued() -> Iterator[Callable[..., list[Recorded]]]:
    """What was enqueued in this test: ``enqueued(MailUserJob)`` gives the runs of a job, ``enqueued()`` all of them, oldest first."""
    from .testing import recorded

    with recorded() as runs:
        yield runs


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """A scheduler whose jobs run inline; see :func:`~.testing.inline`."""
    from .testing import inline

    with inline() as made:
        yield made
