# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""Running the body of a job: making it, calling it on the jobs' loop or in a thread, measuring it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import threading
import time
import typing
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from dishka import AsyncContainer
from dishka.exceptions import NoFactoryError

from .context import JobContext
from .job import JobDefinition
from .loops import LoopThread

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """What a body came to: what it returned or raised, and the processor time it took."""

    returned: object = None
    error: BaseException | None = None
    cpu_ms: int = 0


class JobThread:
    """The loop on which jobs run, with the container their constructors are served from.

    Args:
        make_container: Makes the container; called once, on the loop. ``None``: jobs get no services.
        offers: What constructors may ask for besides, by type.
    """

    def __init__(
        self,
        make_container: Callable[[], AsyncContainer | None] | None = None,
        *,
        offers: Mapping[type, Any] | None = None,
    ) -> None:
        self.thread = LoopThread("targcc-jobs")
        self.offers = dict(offers or {})
        self._make_container = make_container
        self._container: AsyncContainer | None = None
        self.now_running: JobContext | None = None
        self.contexts: set[JobContext] = set()

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()
        self.thread.call_sync(self._open(), timeout=60)

    def stop(self) -> None:
        """Close the container and stop the thread; if it is blocked, it is left behind."""
        try:
            self.thread.call_sync(self._close(), timeout=5)
        except TimeoutError:
            stack = self.thread.stack()
            log.warning("the jobs' loop is blocked and is left behind:\n%s", stack)
        except Exception:
            log.exception("a service could not be closed")
        self.thread.stop()

    def begin(
        self,
        definition: JobDefinition,
        ctx: JobContext,
        arguments: Mapping[str, Any],
        *,
        on_begin: Callable[[], None],
        on_end: Callable[[Finished], None],
    ) -> Body:
        """Begin a body on the loop; both callbacks are called there."""
        body = Body(self, definition, ctx, arguments, on_begin=on_begin, on_end=on_end)
        self.thread.loop.call_soon_threadsafe(body.start)
        return body

    async def _open(self) -> None:
        if self._make_container is not None:
            self._container = self._make_container()

    async def _close(self) -> None:
        if self._container is not None:
            await self._container.close()

    def scope(self) -> typing.AsyncContextManager[AsyncContainer] | None:
        """A request scope of the container, for one attempt."""
        return self._container() if self._container is not None else None


class Body:
    """One attempt's code, running on the jobs' loop."""

    def __init__(
        self,
        jobs: JobThread,
        definition: JobDefinition,
        ctx: JobContext,
        arguments: Mapping[str, Any],
        *,
        on_begin: Callable[[], None],
        on_end: Callable[[Finished], None],
    ) -> None:
        self._jobs = jobs
        self._definition = definition
        self._ctx = ctx
        self._arguments = arguments
        self._on_begin = on_begin
        self._on_end = on_end
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self.job_thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; on the jobs' loop."""
        if self._stopped:  # told to stop before the loop had time for it
            self._on_end(Finished(error=asyncio.CancelledError()))
            return
        self._task = asyncio.create_task(
            self._run(), name=f"{self._ctx.job_name} {self._ctx.run_id}"
        )

    def stop(self) -> None:
        """Stop it by force: a coroutine gets ``CancelledError``; a thread cannot be stopped. Called from any thread."""
        self._jobs.thread.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        self._on_begin()
        self._jobs.contexts.add(self._ctx)
        meter = Meter(self._jobs, self._ctx)
        try:
            returned = await self._call(meter)
        except BaseException as error:  # noqa: BLE001 - whatever a job raises is its result
            finished = Finished(error=error, cpu_ms=meter.cpu_ms)
        else:
            finished = Finished(returned=returned, cpu_ms=meter.cpu_ms)
        finally:
            self._jobs.contexts.discard(self._ctx)
        self._on_end(finished)

    async def _call(self, meter: Meter) -> object:
        async with AsyncExitStack() as stack:
            function = await meter.measure(self._make(stack))
            arguments = dict(self._arguments)
            if (context := self._definition.signature.context) is not None:
                arguments[context] = self._ctx
            if inspect.iscoroutinefunction(function):
                return await meter.measure(function(**arguments))
            return await self._call_in_thread(function, arguments, meter)

    async def _make(self, stack: AsyncExitStack) -> Callable[..., Any]:
        """What is to be called: the function, or ``execute`` of an instance that got its services."""
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
        self, function: Callable[..., Any], arguments: dict[str, Any], meter: Meter
    ) -> object:
        # A thread of its own: one of a pool would keep the process from ending when it hangs.
        loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def work() -> None:
            started = time.thread_time()
            try:
                outcome: tuple[object, BaseException | None] = (function(**arguments), None)
            except BaseException as error:  # noqa: BLE001 - whatever a job raises is its result
                outcome = (None, error)
            meter.add(time.thread_time() - started)
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, done, outcome)

        name = f"targcc-job {self._ctx.job_name} {self._ctx.run_id}"
        self.job_thread = threading.Thread(target=work, name=name, daemon=True)
        self.job_thread.start()
        returned, error = await done
        if error is not None:
            raise error
        if inspect.isawaitable(returned):  # a plain function that hands a coroutine on
            return await meter.measure(_awaited(returned))
        return typing.cast("object", returned)


def _resolve(future: asyncio.Future[Any], outcome: object) -> None:
    if not future.done():
        future.set_result(outcome)


async def _awaited(value: Any) -> Any:
    return await value


class Meter:
    """Measures the processor time of a coroutine, step by step, and says which run the loop is at.

    What tasks the job starts by itself use is not counted: the event loop does not tell whose they are.
    """

    def __init__(self, jobs: JobThread, ctx: JobContext) -> None:
        self._jobs = jobs
        self._ctx = ctx
        self._seconds = 0.0

    @property
    def cpu_ms(self) -> int:
        """So far, in milliseconds."""
        return round(self._seconds * 1000)

    def add(self, seconds: float) -> None:
        """Count time that was measured elsewhere."""
        self._seconds += seconds

    async def measure(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await a coroutine, measured."""
        return await _Steps(coroutine, self)

    def step(self, advance: Callable[[], Any]) -> Any:
        """One step of the coroutine, up to where it waits."""
        started = time.thread_time()
        self._jobs.now_running = self._ctx
        try:
            return advance()
        finally:
            self._jobs.now_running = None
            self._seconds += time.thread_time() - started


class _Steps:
    def __init__(self, coroutine: Coroutine[Any, Any, Any], meter: Meter) -> None:
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


async def services_for(
    target: type, container: AsyncContainer | None, offers: Mapping[type, Any]
) -> dict[str, Any]:
    """What a class asks for in its constructor, by type.

    Args:
        target: The class.
        container: Where services come from.
        offers: What there is besides, by type; looked at first.

    Raises:
        TypeError: something is asked for that nobody offers.
    """
    wanted = [
        parameter
        for parameter in inspect.signature(target).parameters.values()
        if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    if not wanted:
        return {}
    types = typing.get_type_hints(target.__init__, vars(sys.modules[target.__module__]))  # type: ignore[misc]  # read, not called
    services: dict[str, Any] = {}
    for parameter in wanted:
        kind = types.get(parameter.name)
        if isinstance(kind, type) and kind in offers:
            services[parameter.name] = offers[kind]
            continue
        found, service = await _service(kind, container)
        if found:
            services[parameter.name] = service
        elif parameter.default is parameter.empty:
            raise TypeError(_nobody_offers(target, parameter, kind))
    return services


async def _service(kind: Any, container: AsyncContainer | None) -> tuple[bool, Any]:
    if container is None or kind is None:
        return False, None
    try:
        return True, await container.get(kind)
    except NoFactoryError as error:
        if error.requested.type_hint is not kind:  # offered, but what it needs itself is not
            raise
        return False, None


def _nobody_offers(target: type, parameter: inspect.Parameter, kind: Any) -> str:
    if kind is None:
        return f"{target.__name__}: the constructor's parameter {parameter.name} needs a type, so that it can be offered"
    return (
        f"{target.__name__} asks for {parameter.name}: {getattr(kind, '__qualname__', kind)}, which nobody offers: "
        "add it to services.py"
    )
