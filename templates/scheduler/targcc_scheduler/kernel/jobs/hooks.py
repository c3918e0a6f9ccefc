"""Hooks around attempts (``@around``) and event handlers for runs (``@on_failed``, ``@on_succeeded``, …)."""

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

# Marks on functions: the kinds of a project's hook, as plain data.

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__targcc_hook__"
AROUND = "around"


def marked(function: F, kind: str) -> F:
    """Mark a function as a hook, so that discovery finds the function; return the same function.

    Raises:
        HookError: The function cannot be such a hook.
    """
    check(function, kind)
    vars(function).setdefault(MARK, {})[kind] = None
    return function


def kinds_of(value: object) -> tuple[str, ...]:
    """Return the hook kinds that mark a module's value; an empty tuple for a value that is not a function."""
    return tuple(vars(value).get(MARK, ())) if inspect.isfunction(value) else ()


def check(function: object, kind: str) -> None:
    """Check that a function can be a hook with this kind.

    Raises:
        HookError: The value is not a function, not async for ``@around``, or takes other arguments.
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
    """Return a hook's name, which stays the same after a restart: its module and qualified name."""
    return f"{function.__module__}.{function.__qualname__}"


# Hooks around attempts: ``@around``.

CallNext = Callable[[], Awaitable[JobResult]]
"""Call the next hook, or the job after the last hook. Returns the job's result, or raises the job's exception."""
AroundHook = Callable[[JobContext, CallNext], Awaitable[JobResult | None]]
"""A hook around an attempt: an async function that takes the context and ``call_next``."""
A = TypeVar("A", bound=AroundHook)


def around(hook: A) -> A:
    """Run ``hook`` around each attempt, for every job.

    Decorate an async function in a module below the jobs package, best ``jobs/hooks.py``::

        @around
        async def timed(ctx: JobContext, call_next: CallNext) -> None:
            started = time.monotonic()
            await call_next()
            ctx.log.info("timed", seconds=time.monotonic() - started)

    The hook runs in the job's process, on the jobs' event loop, in the attempt's task. The hook begins before the job's services
    are created, and ends after the services are closed. The job sees the context variables that the hook sets, also a plain job, which runs
    in a thread.

    The hook awaits ``call_next()`` once, which returns the job's result or raises the job's exception. The hook's end decides:

    * Returning ``None`` keeps the job's result or exception, even if the hook caught the exception.
    * Returning a :class:`~.result.JobResult` replaces the job's result. The hook may return a result without calling the job.
    * Raising an exception fails the attempt.

    Raises:
        HookError: ``hook`` is not an async function that takes a context and ``call_next``.
    """
    return marked(hook, AROUND)


# Run events, and the decorators for handlers: ``@on_failed``, ``@on_succeeded``, …


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEvent:
    """A change in a run's state, as a handler receives the change. An event holds no arguments: arguments may be secret.

    Args:
        id: The event's id for this handler, the same in every delivery. Store the id to make the handler idempotent.
        delivery: Delivery number, from 1. An event is delivered again if the handler failed, or if the process ended before the
            handler's return was recorded.
        at: The instant at which the run entered the state.
        run_id: The run's id.
        job: The run's job.
        job_type: The run's type, such as ``Recurring``.
        queue: The run's queue.
        attempt: The last attempt's number; 0 if no attempt has begun.
        triggered_by: The actor that started the run, such as ``System`` or ``Manual (dana)``.
        message: The result or the error, in one line.
        scheduled_for: The slot for a recurring job; ``None`` for other runs.
        created_at: The instant at which the run was created.
        started_at: The instant at which the last attempt began.
        url: The URL to the run's page.
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
    """The event for a run that has succeeded."""


class RunFailed(RunEvent):
    """The event for a run that has failed for good: no retry follows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRetrying(RunEvent):
    """The event for an attempt that has failed and that a retry follows.

    Args:
        retry_at: The instant of the next attempt.
    """

    retry_at: datetime


class RunCancelled(RunEvent):
    """The event for a run that was cancelled: by a person, or because the run's dependency was not met."""


class RunMissed(RunEvent):
    """The event for a slot that passed without a run."""


class RunSkipped(RunEvent):
    """The event for a slot that was skipped because another run was in its way."""


EVENTS: dict[str, type[RunEvent]] = {
    RunState.SUCCEEDED: RunSucceeded,
    RunState.FAILED: RunFailed,
    RunState.RETRYING: RunRetrying,
    RunState.CANCELLED: RunCancelled,
    RunState.MISSED: RunMissed,
    RunState.SKIPPED: RunSkipped,
}
"""The event class for each state with events."""
Handler = Callable[[Any], Awaitable[None] | None]
"""A function that receives an event: async, or plain; a plain function is called in a thread."""

Succeeded = TypeVar("Succeeded", bound=Callable[[RunSucceeded], Awaitable[None] | None])
Failed = TypeVar("Failed", bound=Callable[[RunFailed], Awaitable[None] | None])
Retrying = TypeVar("Retrying", bound=Callable[[RunRetrying], Awaitable[None] | None])
Cancelled = TypeVar("Cancelled", bound=Callable[[RunCancelled], Awaitable[None] | None])
Missed = TypeVar("Missed", bound=Callable[[RunMissed], Awaitable[None] | None])
Skipped = TypeVar("Skipped", bound=Callable[[RunSkipped], Awaitable[None] | None])


def on_succeeded(handler: Succeeded) -> Succeeded:
    """Call ``handler`` with a :class:`RunSucceeded` for each run that succeeds; see :func:`on_failed` for the guarantees."""
    return marked(handler, RunState.SUCCEEDED)


def on_failed(handler: Failed) -> Failed:
    """Call ``handler`` with a :class:`RunFailed` for each run that fails for good.

    Decorate a function in a module below the jobs package, best ``jobs/hooks.py``; the function may be async or plain::

        @on_failed
        async def open_ticket(event: RunFailed) -> None:
            await tickets.create(key=event.id, title=f"{event.job} failed", link=event.url)

    The call comes a few seconds after the state was committed, from any node that has the handler, not only from the node that ran the job.
    The database keeps the event until the handler has returned. If the handler raises, takes more than 50 s, or the process dies before the
    return is recorded, the handler is called again with the same ``event.id``: make the handler idempotent.

    Raises:
        HookError: ``handler`` is not a function that takes one event.
    """
    return marked(handler, RunState.FAILED)


def on_retrying(handler: Retrying) -> Retrying:
    """Call ``handler`` with a :class:`RunRetrying` for each failed attempt that a retry follows; see :func:`on_failed` for the guarantees."""
    return marked(handler, RunState.RETRYING)


def on_cancelled(handler: Cancelled) -> Cancelled:
    """Call ``handler`` with a :class:`RunCancelled` for each cancelled run; see :func:`on_failed` for the guarantees."""
    return marked(handler, RunState.CANCELLED)


def on_missed(handler: Missed) -> Missed:
    """Call ``handler`` with a :class:`RunMissed` for each slot that passed without a run; see :func:`on_failed` for the guarantees."""
    return marked(handler, RunState.MISSED)


def on_skipped(handler: Skipped) -> Skipped:
    """Call ``handler`` with a :class:`RunSkipped` for each skipped slot; see :func:`on_failed` for the guarantees."""
    return marked(handler, RunState.SKIPPED)


# A process's hooks: added to its scheduler, or found by discovery.

log = logging.getLogger("targcc.jobs.hooks")


class Hooks:
    """A process's hooks, in call order: the scheduler's own, added hooks, discovered hooks."""

    def __init__(self) -> None:
        self._first: list[AroundHook] = []
        self._given: list[AroundHook] = []
        self._found: list[AroundHook] = []
        self.around: tuple[AroundHook, ...] = ()
        """The hooks around attempts, outermost first."""
        self._handlers: dict[str, tuple[Handler, frozenset[str]]] = {}
        self.listening = False
        """Whether the handlers are registered in the database; a handler added later is not registered before the next start."""
        self._missing: str | None = None

    @property
    def handlers(self) -> Mapping[str, tuple[Handler, frozenset[str]]]:
        """The event handlers by name, each with the states whose events the handler receives."""
        return self._handlers

    def give(self, hook: Callable[..., Any], kind: str) -> None:
        """Add a hook that an application gives to its scheduler.

        Raises:
            HookError: The function cannot be such a hook, another handler has the name, or the scheduler has started.
        """
        check(hook, kind)
        if kind == AROUND:
            self._add(hook, self._given)
            return
        if self.listening:
            raise HookError(f"{name_of(hook)}: add it before the scheduler starts")
        self._hear(hook, [kind])

    def find(self, hook: Callable[..., Any], kinds: Sequence[str]) -> None:
        """Add a marked function from the jobs package; adding the same function twice changes nothing.

        Raises:
            HookError: Another handler has the name.
        """
        if AROUND in kinds and hook not in self._found:
            self._add(hook, self._found)
        events = [kind for kind in kinds if kind != AROUND]
        if events and self.listening:
            log.warning("%s hears of runs when the scheduler starts next", name_of(hook))
        elif events:
            self._hear(hook, events)

    def begin_with(self, hook: AroundHook) -> None:
        """Add the scheduler's own hook, outside all project hooks."""
        if hook not in self._first:
            self._add(hook, self._first)

    def _add(self, hook: AroundHook, group: list[AroundHook]) -> None:
        group.append(hook)
        self.around = (*self._first, *self._given, *self._found)

    def refuse(self, why: str) -> None:
        """Make every attempt fail with ``why``: jobs must not run while required hooks are missing."""
        self._missing = why

        async def refused(ctx: JobContext, call_next: CallNext) -> JobResult:
            del ctx, call_next
            raise HookError(why)

        self._add(refused, self._first)

    def places(self) -> list[tuple[str, str]]:
        """Return the module and the qualified name of each hook around attempts, for import by another process.

        Raises:
            HookError: A hook cannot be imported by name, or required hooks are missing.
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
