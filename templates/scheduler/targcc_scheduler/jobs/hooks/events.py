"""What became of a run, as the code of a project hears of it: ``@on_failed`` and its like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from ...core.states import RunState
from .marks import marked


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEvent:
    """A run has come into a state.

    Args:
        id: Of this event for this handler: the same one each time that it is delivered.
        delivery: 1 the first time; more when the handler had failed, or its process ended before it was noted that it had not.
        at: When the run came into the state.
        run_id: The run.
        job: Its job.
        job_type: Such as ``Recurring``.
        queue: Its queue.
        attempt: Which attempt was its last; 0 if none was begun.
        triggered_by: Who started it, such as ``System`` or ``Manual (dana)``.
        message: The result or the error, in one line.
        scheduled_for: The slot of a recurring job.
        created_at: When the run was created.
        started_at: When its last attempt began.
        url: Its page.
    """

    id: str
    delivery: int
    at: datetime
    run_id: int
    job: str
    job_type: str
    queue: str
    attempt: int
    triggered_by: str
    message: str | None
    scheduled_for: datetime | None
    created_at: datetime
    started_at: datetime | None
    url: str


class RunSucceeded(RunEvent):
    """A run has succeeded."""


class RunFailed(RunEvent):
    """A run has failed, and is not tried again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRetrying(RunEvent):
    """An attempt has failed, and there will be another one.

    Args:
        retry_at: When.
    """

    retry_at: datetime


class RunCancelled(RunEvent):
    """A run was cancelled: by a person, or since what it waited for did not come."""


class RunMissed(RunEvent):
    """A slot has passed without a run."""


class RunSkipped(RunEvent):
    """A slot was skipped, since another run was in its way."""


EVENTS: dict[str, type[RunEvent]] = {
    RunState.SUCCEEDED: RunSucceeded,
    RunState.FAILED: RunFailed,
    RunState.RETRYING: RunRetrying,
    RunState.CANCELLED: RunCancelled,
    RunState.MISSED: RunMissed,
    RunState.SKIPPED: RunSkipped,
}
"""The event of each state that is told of."""
Handler = Callable[[Any], Awaitable[None] | None]
"""What hears of an event: an async function, or a plain one, which is called in a thread."""

Succeeded = TypeVar("Succeeded", bound=Callable[[RunSucceeded], Awaitable[None] | None])
Failed = TypeVar("Failed", bound=Callable[[RunFailed], Awaitable[None] | None])
Retrying = TypeVar("Retrying", bound=Callable[[RunRetrying], Awaitable[None] | None])
Cancelled = TypeVar("Cancelled", bound=Callable[[RunCancelled], Awaitable[None] | None])
Missed = TypeVar("Missed", bound=Callable[[RunMissed], Awaitable[None] | None])
Skipped = TypeVar("Skipped", bound=Callable[[RunSkipped], Awaitable[None] | None])


def on_succeeded(handler: Succeeded) -> Succeeded:
    """Call ``handler`` with each run that has succeeded; see :func:`on_failed`."""
    return marked(handler, RunState.SUCCEEDED)


def on_failed(handler: Failed) -> Failed:
    """Call ``handler`` with each run that has failed for good; for functions in a module of the jobs package.

    It is called by one node, a few seconds after the state was committed, in a process that has the handler but not in the one that
    ran the job. The event is kept in the database until the handler has returned: if it raises, takes more than 50 s, or its process
    dies before that is noted, it is called again with the same ``event.id``.

    Raises:
        HookError: it is no function of an event.
    """
    return marked(handler, RunState.FAILED)


def on_retrying(handler: Retrying) -> Retrying:
    """Call ``handler`` with each attempt that has failed and will be followed by another; see :func:`on_failed`."""
    return marked(handler, RunState.RETRYING)


def on_cancelled(handler: Cancelled) -> Cancelled:
    """Call ``handler`` with each run that was cancelled; see :func:`on_failed`."""
    return marked(handler, RunState.CANCELLED)


def on_missed(handler: Missed) -> Missed:
    """Call ``handler`` with each slot that has passed without a run; see :func:`on_failed`."""
    return marked(handler, RunState.MISSED)


def on_skipped(handler: Skipped) -> Skipped:
    """Call ``handler`` with each slot that was skipped; see :func:`on_failed`."""
    return marked(handler, RunState.SKIPPED)
