"""Run one attempt: inject services, call hooks and the job, measure processor time."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import sys
import threading
import time
import typing
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from ...core.clock import deadline
from ...core.errors import HookError, JobCancelled
from ...core.loop_thread import LoopThread
from ...core.stored_values import exception_line, type_name
from ..jobs.context import JobContext, JobResult, StopReason
from ..jobs.definition import JobDefinition
from ..jobs.hooks import AroundHook, name_of
from .outcome import Outcome, Wait, raised_outcome, result_error, returned_outcome, shown_result

if TYPE_CHECKING:
    from dishka import AsyncContainer

# Middleware: run an attempt through the hooks around it, the outermost hook first.

_STOPS = (asyncio.CancelledError, JobCancelled, GeneratorExit)
"""Exceptions that pass through a hook because the attempt is told to stop. They do not count as a failure of the hook."""


async def run_middleware(
    hooks: Sequence[AroundHook], ctx: JobContext, perform: Callable[[], Awaitable[JobResult]]
) -> JobResult:
    """Call the hooks around an attempt, then ``perform``.

    Args:
        hooks: The hooks, the outermost first.
        ctx: The attempt.
        perform: Runs the job itself.

    Returns:
        The result of the outermost hook that returned a result; else the result of ``perform``.

    Raises:
        HookError: A hook has failed. The cause is the exception of the hook.
        BaseException: ``perform`` raised it and no hook returned a result instead. Catching the exception in a hook does not suppress it.
    """
    if not hooks:
        return await perform()
    return await _Passage(hooks[0], partial(run_middleware, hooks[1:], ctx, perform)).make(ctx)


class _Passage:
    """Run one hook, and check how the hook has used ``call_next``.

    Args:
        hook: The hook.
        within: The rest of the chain: the inner hooks and the job.
    """

    def __init__(self, hook: AroundHook, within: Callable[[], Awaitable[JobResult]]) -> None:
        self._hook = hook
        self._within = within
        self._name = name_of(hook)
        self._begun = False
        self._result: JobResult | None = None
        self._error: BaseException | None = None

    async def make(self, ctx: JobContext) -> JobResult:
        try:
            result = await self._hook(ctx, self._next)
        except BaseException as error:
            if error is self._error or isinstance(error, _STOPS):
                raise
            raise HookError(f"the hook {self._name} failed: {exception_line(error)}") from error
        if result is not None:
            return self._checked(result)
        if self._error is not None:  # a hook cannot suppress the job's exception
            raise self._error
        if self._result is None:
            raise HookError(
                f"the hook {self._name} neither awaited call_next() nor returned a JobResult"
            )
        return self._result

    async def _next(self) -> JobResult:
        if self._begun:
            raise HookError("call_next() was called a second time: an attempt runs once")
        self._begun = True
        try:
            self._result = await self._within()
        except BaseException as error:
            self._error = error
            raise
        return self._result

    def _checked(self, value: object) -> JobResult:
        if not isinstance(value, JobResult):
            raise HookError(
                f"the hook {self._name} returned a {type_name(value)}: it returns a JobResult or nothing"
            )
        return value


# Dependency injection: find the services that a job's constructor asks for.


async def services_for(
    target: type, container: AsyncContainer | None, offers: Mapping[type, Any]
) -> dict[str, Any]:
    """Find the constructor arguments of a class by the types of its parameters.

    Args:
        target: The class.
        container: The container that makes services; ``None``: only ``offers`` are available.
        offers: Further services by type, such as ``Scheduler``. They take precedence over the container.

    Returns:
        The arguments by parameter name. A parameter that has a default and no service is left out.

    Raises:
        TypeError: A parameter without a default has no service of its type.
    """
    services: dict[str, Any] = {}
    for parameter, kind in constructor_parameters(target):
        if isinstance(kind, type) and kind in offers:
            services[parameter.name] = offers[kind]
            continue
        is_found, service = await _service(kind, container)
        if is_found:
            services[parameter.name] = service
        elif parameter.default is parameter.empty:
            raise TypeError(_nobody_offers(target, parameter, kind))
    return services


@lru_cache(maxsize=1_000)
def constructor_parameters(target: type) -> Sequence[tuple[inspect.Parameter, Any]]:
    """Return the parameters of a class's constructor with their types. Cached, as the inspection takes longer than many jobs."""
    parameters = [
        parameter
        for parameter in inspect.signature(target).parameters.values()
        if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    if not parameters:
        return ()
    types = typing.get_type_hints(target.__init__, vars(sys.modules[target.__module__]))  # type: ignore[misc]  # read, not called
    return [(parameter, types.get(parameter.name)) for parameter in parameters]


async def _service(kind: Any, container: AsyncContainer | None) -> tuple[bool, Any]:
    if container is None or kind is None:
        return False, None
    from dishka.exceptions import NoFactoryError  # imported with the container

    try:
        return True, await container.get(kind)
    except NoFactoryError as error:
        if error.requested.type_hint is not kind:  # a dependency of `kind` is missing
            raise
        return False, None


def _nobody_offers(target: type, parameter: inspect.Parameter, kind: Any) -> str:
    if kind is None:
        return f"{target.__name__}: the constructor's parameter {parameter.name} needs a type, so that it can be offered"
    return (
        f"{target.__name__} asks for {parameter.name}: {getattr(kind, '__qualname__', kind)}, which nobody offers: "
        "add it to services.py"
    )


# CpuMeter: the processor time of one attempt.


class CpuMeter:
    """Measure the processor time of coroutines, step by step.

    Tasks that the job starts are not counted: the event loop does not tell to which job a task belongs.

    Args:
        enter: Called before each step of a coroutine.
        leave: Called after each step, when the coroutine waits or has ended.
        steps: Whether coroutines are measured. If false, coroutines are only awaited, without calls of ``enter`` and ``leave``; then
            only the time passed to :meth:`add` counts.
    """

    def __init__(
        self, enter: Callable[[], None], leave: Callable[[], None], *, steps: bool = True
    ) -> None:
        self._enter = enter
        self._leave = leave
        self._steps = steps
        self._seconds: float | None = 0.0 if steps else None
        self._is_in_step = False

    @property
    def cpu_ms(self) -> int | None:
        """Return the processor time so far, in milliseconds; ``None`` if nothing was measured."""
        return None if self._seconds is None else round(self._seconds * 1000)

    def add(self, seconds: float) -> None:
        """Add processor time that the caller has measured, in seconds."""
        self._seconds = (self._seconds or 0.0) + seconds

    async def measure(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await a coroutine and return its result; measure the steps if ``steps`` is set."""
        return await (_Steps(coroutine, self) if self._steps else coroutine)

    def step(self, advance: Callable[[], Any]) -> Any:
        """Run the coroutine to its next await and add the CPU time. Nested coroutines count once."""
        if self._is_in_step:
            return advance()
        started = time.thread_time()
        self._is_in_step = True
        self._enter()
        try:
            return advance()
        finally:
            self._leave()
            self._is_in_step = False
            self.add(time.thread_time() - started)


class _Steps:
    def __init__(self, coroutine: Coroutine[Any, Any, Any], meter: CpuMeter) -> None:
        self._coroutine = coroutine
        self._meter = meter

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine = self._coroutine
        advance: Callable[[], Any] = lambda: coroutine.send(None)  # noqa: E731 - replaced below
        while True:
            try:
                waiting_for = self._meter.step(advance)
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield waiting_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - all of it belongs to the coroutine
                advance = _thrower(coroutine, error)
            else:
                advance = _sender(coroutine, sent)


def _sender(coroutine: Coroutine[Any, Any, Any], value: Any) -> Callable[[], Any]:
    return lambda: coroutine.send(value)


def _thrower(coroutine: Coroutine[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(error)


# Invocation: make the job's instance, call the job on the jobs' loop or in a thread, measure the call.

log = logging.getLogger("targcc.worker.runner")

T = TypeVar("T")

_LAST_HOOKS_SECONDS = 2.0
"""Seconds that hooks may take to end after a plain job that was stopped by force."""


@dataclass(frozen=True)
class InvocationResult:
    """The end of one call of a job's code.

    Args:
        outcome: The result or exception of the job, as plain data.
        cpu_ms: Processor time in milliseconds; ``None`` if not measured.
        memory_mb: Growth of memory in MiB; ``None`` unless the job has a process of its own.
        interrupted: Whether the code was really stopped by force. False if the code had already ended when the stop came.
        from_outside: Whether the job's process was ended by neither the node nor the job.
        error: The exception that the job raised or put into its result. Only known in the process where the job ran.
        asked: Whether the worker process has already called the job's back-off rule.
        wait: The answer of that rule.
    """

    outcome: Outcome
    cpu_ms: int | None = 0
    memory_mb: int | None = None
    interrupted: bool = False
    from_outside: bool = False
    error: BaseException | None = field(default=None, repr=False, compare=False)
    asked: bool = False
    wait: Wait | None = None


class JobLoop:
    """The event loop on which jobs run, in its own thread, and the container that provides the services of jobs.

    Args:
        make_container: Makes the container; called once, on the loop. ``None``: jobs get no services.
        offers: Further services that constructors may ask for, by type.
        cpu_meter: Whether the processor time of coroutines is measured, see :class:`.CpuMeter`.
    """

    def __init__(
        self,
        make_container: Callable[[], AsyncContainer | None] | None = None,
        *,
        offers: Mapping[type, Any] | None = None,
        cpu_meter: bool = True,
    ) -> None:
        self.thread = LoopThread("targcc-jobs")
        self.offers: Mapping[type, Any] = {} if offers is None else offers
        self.cpu_meter = cpu_meter
        self._make_container = make_container
        self._container: AsyncContainer | None = None
        self.now_running: JobContext | None = None
        self.contexts: set[JobContext] = set()
        self.stuck_in: str | None = None
        """The job that blocks the loop and the thread's stack; ``None`` while the loop answers. Set by ``executor.watch``."""

    def start(self) -> None:
        """Start the thread and make the container; wait up to 60 s for both."""
        self.thread.start()
        self.thread.call_sync(self._open(), timeout=60)

    def stop(self) -> None:
        """Close the container and stop the thread. If the loop is blocked for 5 s, abandon the thread."""
        if not self.thread.has_begun:  # the start of the node failed before
            self.thread.stop()
            return
        try:
            self.thread.call_sync(self._close(), timeout=5)
        except TimeoutError:
            stack = self.thread.stack()
            log.warning("the jobs' loop is blocked and is abandoned:\n%s", stack)
        except Exception:
            log.exception("a service could not be closed")
        self.thread.stop()

    def begin(
        self,
        definition: JobDefinition,
        ctx: JobContext,
        arguments: Mapping[str, Any],
        *,
        hooks: Sequence[AroundHook] = (),
        on_begin: Callable[[], None],
        on_end: Callable[[InvocationResult], None],
    ) -> Invocation:
        """Begin an invocation on the loop, inside the hooks. Both callbacks are called on the loop."""
        ctx.take(arguments)
        invocation = Invocation(
            self, definition, ctx, arguments, hooks=hooks, on_begin=on_begin, on_end=on_end
        )
        self.thread.calls.ask(invocation.start)
        return invocation

    async def _open(self) -> None:
        if self._make_container is not None:
            self._container = self._make_container()

    async def _close(self) -> None:
        if self._container is not None:
            await self._container.close()

    @property
    def container(self) -> AsyncContainer | None:
        """The container; ``None`` before the start and without services."""
        return self._container

    def scope(self) -> typing.AsyncContextManager[AsyncContainer] | None:
        """Return a request scope of the container for one attempt; ``None`` without a container."""
        return self._container() if self._container is not None else None


class Invocation:
    """Run the code of one attempt on the jobs' loop."""

    def __init__(
        self,
        jobs: JobLoop,
        definition: JobDefinition,
        ctx: JobContext,
        arguments: Mapping[str, Any],
        *,
        hooks: Sequence[AroundHook],
        on_begin: Callable[[], None],
        on_end: Callable[[InvocationResult], None],
    ) -> None:
        self._jobs = jobs
        self._hooks = hooks
        self._definition = definition
        self._ctx = ctx
        self._arguments = arguments
        self._on_begin = on_begin
        self._on_end = on_end
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._begun = False
        self._interrupted = False
        self._error: BaseException | None = None
        self._raised: Outcome | None = None
        self._failure: BaseException | None = None
        self.job_thread: threading.Thread | None = None

    def start(self) -> None:
        """Create the task of the attempt. Called on the jobs' loop."""
        self._task = asyncio.create_task(
            self._run(), name=f"{self._ctx.job_name} {self._ctx.run_id}"
        )

    def stop(self) -> None:
        """Stop the job by force: raise ``CancelledError`` in a coroutine; a thread cannot be stopped. Called from any thread."""
        self._jobs.thread.loop.call_soon_threadsafe(self._cancel)

    def tell(self, reason: StopReason, message: str) -> None:
        """Do nothing: the job reads in its context, in the same process, that it is told to stop."""

    @property
    def in_thread(self) -> bool:
        """Return whether the job's code runs in a thread at present."""
        return self.job_thread is not None and self.job_thread.is_alive()

    def _cancel(self) -> None:
        self._stopped = True
        # A task that is cancelled before its first step would not call on_end. A task that waits for a thread goes on waiting.
        if self._task is not None and self._begun and not self.in_thread:
            self._interrupted = self._task.cancel() or self._interrupted

    async def _run(self) -> None:
        if self._stopped:  # stopped before the first step of the task
            stopped = raised_outcome(asyncio.CancelledError())
            self._on_end(InvocationResult(stopped, interrupted=True))
            return
        self._begun = True
        self._on_begin()
        if (timeout := self._definition.timeout) is not None:  # services read this deadline
            deadline.set(time.monotonic() + timeout.total_seconds())
        self._jobs.contexts.add(self._ctx)
        meter = CpuMeter(self._enter, self._leave, steps=self._jobs.cpu_meter)
        try:
            outcome = await (self._call_within_hooks(meter) if self._hooks else self._call(meter))
        except BaseException as error:  # noqa: BLE001 - whatever a job raises is its result
            known = self._raised if error is self._error else None
            outcome = known or raised_outcome(error)
            self._failure = error
        finally:
            self._jobs.contexts.discard(self._ctx)
        finished = InvocationResult(
            outcome, meter.cpu_ms, interrupted=self._interrupted, error=self._failure
        )
        self._on_end(finished)

    def _enter(self) -> None:
        """Tell the watchdog which attempt runs on the loop now."""
        self._jobs.now_running = self._ctx

    def _leave(self) -> None:
        self._jobs.now_running = None

    async def _call_within_hooks(self, meter: CpuMeter) -> Outcome:
        own: list[tuple[JobResult, Outcome]] = []

        async def perform() -> JobResult:
            outcome = await self._call(meter)
            own.append((shown_result(outcome), outcome))
            return own[0][0]

        result = await meter.measure(run_middleware(self._hooks, self._ctx, perform))
        if not own:
            return returned_outcome(result)
        shown, outcome = own[0]
        if result is shown:
            return outcome
        changed = returned_outcome(result)
        if changed.ok or changed.stack_trace is not None:
            return changed
        return replace(changed, stack_trace=outcome.stack_trace)  # the job's own failure

    async def _call(self, meter: CpuMeter) -> Outcome:
        async with AsyncExitStack() as stack:
            function = await meter.measure(self._make(stack))
            arguments = dict(self._arguments)
            if (context := self._definition.signature.context) is not None:
                arguments[context] = self._ctx
            if inspect.iscoroutinefunction(function):
                return self._returned(await meter.measure(function(**arguments)))
            return await self._call_in_thread(function, arguments, meter)

    async def _make(self, stack: AsyncExitStack) -> Callable[..., Any]:
        """Return the callable of the job: its function, or ``execute`` of a new instance with injected services."""
        target: Any = self._definition.target
        if not inspect.isclass(target):
            function: Callable[..., Any] = target
            return function
        scope = self._jobs.scope()
        container = await stack.enter_async_context(scope) if scope is not None else None
        instance: Any = target(**await services_for(target, container, self._jobs.offers))
        execute: Callable[..., Any] = instance.execute
        return execute

    async def _call_in_thread(
        self, function: Callable[..., Any], arguments: dict[str, Any], meter: CpuMeter
    ) -> Outcome:
        # A daemon thread for each call: a hanging thread of a pool would keep the process from ending.
        loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def work() -> None:
            started = time.thread_time()
            outcome = self._outcome_of(function, arguments)
            meter.add(time.thread_time() - started)
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, done, outcome)

        name = f"targcc-job {self._ctx.job_name} {self._ctx.run_id}"
        context = contextvars.copy_context()  # context variables set by hooks hold in the job too
        self.job_thread = threading.Thread(target=context.run, args=(work,), name=name, daemon=True)
        self.job_thread.start()
        outcome = await _outlasting(done)
        if self._stopped and self._hooks:  # the hooks get 2 s to end by themselves
            loop.call_later(_LAST_HOOKS_SECONDS, self._cancel)
        if self._error is not None:
            raise self._error  # passes through the container's scope, so that services roll back
        if isinstance(outcome, Outcome):
            return outcome
        return self._returned(await meter.measure(self._awaited(outcome)))

    def _outcome_of(
        self, function: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> Outcome | Awaitable[Any]:
        """Call a plain function in the job's thread; return its outcome, or the awaitable that the function returned."""
        try:
            returned = function(**arguments)
            # isinstance would trust a `__class__` that the value overrides.
            if issubclass(type(returned), Awaitable):
                return typing.cast("Awaitable[Any]", returned)
        except BaseException as error:  # noqa: BLE001 - whatever a job raises is its result
            self._error, self._raised = error, raised_outcome(error)
            return self._raised
        return self._returned(returned)

    def _returned(self, value: object) -> Outcome:
        outcome = returned_outcome(value)
        if not outcome.ok:
            self._failure = result_error(value)
        return outcome

    async def _awaited(self, value: Awaitable[Any]) -> Any:
        if self._stopped:  # stopped while the job was in its thread
            self._interrupted = typing.cast("asyncio.Task[Any]", self._task).cancel()
        return await value


async def _outlasting(done: asyncio.Future[T]) -> T:
    """Wait for a thread and return its result, as a thread cannot be stopped.

    A cancellation that comes meanwhile, such as by a timeout in a hook, is raised after the end of the thread.
    """
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.wait((done,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return done.result()


def _resolve(future: asyncio.Future[Any], outcome: object) -> None:
    if not future.done():
        future.set_result(outcome)
