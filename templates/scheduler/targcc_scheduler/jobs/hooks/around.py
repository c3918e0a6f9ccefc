"""Hooks around attempts: ``@around``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..context import JobContext
from ..result import JobResult
from .marks import AROUND, marked

CallNext = Callable[[], Awaitable[JobResult]]
"""Goes on to the next hook, at last to the job; returns its result, or raises what it raised."""
AroundHook = Callable[[JobContext, CallNext], Awaitable[JobResult | None]]
"""What runs around an attempt."""
A = TypeVar("A", bound=AroundHook)


def around(hook: A) -> A:
    """Run ``hook`` around each attempt of each job; for functions in a module of the jobs package.

    It runs where the job does: in its process, on the loop of the jobs, in the task of the attempt, before the job's services are made
    and until they are closed. Context variables that it sets are the job's too, also those of a plain job, which runs in a thread.

    The hook awaits ``call_next()`` once, which returns the job's result or raises what the job raised. What it returns itself:
    nothing, and the job's own end stands, also when the hook has caught the job's exception; or a
    :class:`~..result.JobResult`, which stands instead, also without the job having been called. What it raises fails the attempt.

    Raises:
        HookError: it is no async function of a context and ``call_next``.
    """
    return marked(hook, AROUND)
