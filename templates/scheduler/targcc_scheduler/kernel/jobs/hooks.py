"""Hooks around attempts (``@around``) and after runs (``@on_failed`` and its like)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from ...core.errors import HookError
from ...core.states import RunState
from .context import JobContext
from .result import JobResult

# Marks on functions: what a project's hook is for. Plain data.

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__targcc_hook__"
AROUND = "around"


def marked(function: F, kind: str) -> F:
    """The same function, marked: the discovery of jobs finds it.

    Raises:
        HookError: it cannot be such a hook.
    """
    check(function, kind)
    vars(function).setdefault(MARK, {})[kind] = None
    return function


def kinds_of(value: object) -> tuple[str, ...]:
    """What a value of a module is marked as; nothing, if it is no function."""
    return tuple(vars(value).get(MARK, ())) if inspect.isfunction(value) else ()


def check(function: object, kind: str) -> None:
    """Refuse what cannot be such a hook.

    Raises:
        HookError: it cannot.
    """
    if not inspect.isfunction(function):
        raise HookError(f"a hook is a function, not {function!r}")
    if kind == AROUND and not inspect.iscoroutinefunction(function):
        raise HookError(f"{name_of(function)}: a hook around attempts is an async function")
    wanted = 2 if kind == AROUND else 1
    try:
        inspect.signature(function).bind(*range(wanted))
    except TypeError:
        takes = "the context and call_next" if kind == AROUND else "the event"
        raise HookError(f"{name_of(function)}: a hook takes {takes}") from None


def name_of(function: Callable[..., Any]) -> str:
    """What a hook is called, for people and from one start to the next."""
    return f"{function.__module__}.{function.__qualname__}"


# Hooks around attempts: ``@around``.

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


# What became of a run, as the code of a project hears of it: ``@on_failed`` and its like.


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


# The hooks of a process: those that its scheduler was given, and those that were found with the jobs.

log = logging.getLogger("targcc.jobs.hooks")


class Hooks:
    """The hooks, in the order in which they count."""

    def __init__(self) -> None:
        self._first: list[AroundHook] = []
        self._given: list[AroundHook] = []
        self._found: list[AroundHook] = []
        self._handlers: dict[str, tuple[Handler, frozenset[str]]] = {}
        self.listening = False
        """Whether the handlers are known to the database: whoever comes now is late."""
        self._missing: str | None = None

    @property
    def around(self) -> tuple[AroundHook, ...]:
        """What runs around attempts, the outermost first."""
        return (*self._first, *self._given, *self._found)

    @property
    def handlers(self) -> Mapping[str, tuple[Handler, frozenset[str]]]:
        """What hears of events and of which, by its name."""
        return self._handlers

    def give(self, hook: Callable[..., Any], kind: str) -> None:
        """Take a hook that a scheduler was given.

        Raises:
            HookError: it cannot be such a hook, there is one of its name, or the scheduler has started.
        """
        check(hook, kind)
        if kind == AROUND:
            self._given.append(hook)
            return
        if self.listening:
            raise HookError(f"{name_of(hook)}: add it before the scheduler starts")
        self._hear(hook, [kind])

    def find(self, hook: Callable[..., Any], kinds: Sequence[str]) -> None:
        """Take a marked function of the jobs package; one that is there already stays.

        Raises:
            HookError: there is another one of its name.
        """
        if AROUND in kinds and hook not in self._found:
            self._found.append(hook)
        events = [kind for kind in kinds if kind != AROUND]
        if events and self.listening:
            log.warning("%s hears of runs when the scheduler starts next", name_of(hook))
        elif events:
            self._hear(hook, events)

    def begin_with(self, hook: AroundHook) -> None:
        """Let a hook of the scheduler's own be the outermost."""
        if hook not in self._first:
            self._first.append(hook)

    def refuse(self, why: str) -> None:
        """Let every attempt fail, since hooks are missing without which it must not run."""
        self._missing = why

        async def refused(ctx: JobContext, call_next: CallNext) -> JobResult:
            del ctx, call_next
            raise HookError(why)

        self._first.append(refused)

    def places(self) -> list[tuple[str, str]]:
        """Where another process finds what runs around attempts: module and name of each.

        Raises:
            HookError: one of them cannot be found there, or some are missing.
        """
        if self._missing is not None:
            raise HookError(self._missing)
        places = [(hook.__module__, hook.__qualname__) for hook in self.around]
        for module, name in places:
            if module == "__main__" or "<" in name:
                raise HookError(
                    f"the hook {module}.{name} cannot be found by a process of its own: define it at the top of a module, best in jobs/hooks.py"
                )
        return places

    def _hear(self, handler: Handler, kinds: Iterable[str]) -> None:
        name = name_of(handler)[:200]  # the width of its column
        known, events = self._handlers.get(name, (handler, frozenset[str]()))
        if known is not handler:
            raise HookError(f"there are two handlers {name}")
        self._handlers[name] = handler, events | frozenset(kinds)
