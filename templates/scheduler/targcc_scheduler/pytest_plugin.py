"""Fixtures for the tests of an application with jobs.

Under pytest schedulers are off: nothing runs, nothing connects, and what is enqueued is recorded. ``enqueued`` looks at the record;
``scheduler`` runs what is enqueued at once. Where the scheduler is installed as a package, pytest finds this module by itself; with a copy of it,
``pytest_plugins = ["acme.scheduler.pytest_plugin"]`` in the topmost ``conftest.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .enqueueing.recording import Recorded
    from .scheduler import Scheduler


@pytest.fixture
def enqueued() -> Iterator[Callable[..., list[Recorded]]]:
    """What was enqueued in this test: ``enqueued(MailUserJob)`` gives the runs of a job, ``enqueued()`` all of them, oldest first."""
    from .enqueueing.recording import RECORDING

    RECORDING.runs.clear()

    def found(job: Any = None) -> list[Recorded]:
        return [run for run in RECORDING.runs if job is None or run.job == _name_of(job)]

    yield found
    RECORDING.runs.clear()


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """A scheduler whose jobs run inline: ``enqueue`` returns when the job has ended, and raises what the job raises.

    That holds for every scheduler of the test that is off, such as the one in the routes of an app. What is due later is recorded only.
    """
    from .enqueueing.recording import RECORDING
    from .scheduler import Scheduler
    from .settings import Settings
    from .testing import run_inline

    made = Scheduler(Settings(mode="off"))
    RECORDING.clear()
    RECORDING.perform = lambda job, arguments, run: run_inline(job, arguments, run, made)
    yield made
    RECORDING.clear()


def _name_of(job: Any) -> str:
    """A job's key, by its class, its function or its name."""
    from .jobs.declaration import Declaration

    mark = getattr(job, "__job__", None)
    if isinstance(mark, Declaration):
        return mark.name
    return str(job).removesuffix("Job")
