"""Invoking a job: making its instance, calling it on the jobs' loop or in a thread, measuring it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
import typing
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from dishka import AsyncContainer

from ..core.loop_thread import LoopThread
from ..jobs.context import JobContext
from ..jobs.definition import JobDefinition
from .cpu_meter import CpuMeter
from .injection import services_for

log = logging.getLogger("targcc.worker.runner")


@dataclass(frozen=True)
class InvocationResult:
    """What a job returned or raised, and the processor time it took."""

    returned: object = None
    error: BaseException | None = None
    cpu_ms: int = 0


class JobLoop:
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
        """Close the container and stop the thread; if it is blocked, it is abandoned."""
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
        on_begin: Callable[[], None],
        on_end: Callable[[InvocationResult], None],
    ) -> Invocation:
        """Begin an invocation on the loop; both callbacks are called there."""
        invocation = Invocation(self, definition, ctx, arguments, on_begin=on_begin, on_end=on_end)
        self.thread.loop.call_soon_threadsafe(invocation.start)
        return invocation

    async def _open(self) -> None:
        if self._make_container is not None:
            self._container = self._make_container()

    async def _close(self) -> None:
        if self._container is not None:
            await self._container.close()

    def scope(self) -> typing.AsyncContextManager[AsyncContainer] | None:
        """A request scope of the container, for one attempt."""
        return self._container() if self._container is not None else None


class Invocation:
    """One attempt's code, running on the jobs' loop."""

    def __init__(
        self,
        jobs: JobLoop,
        definition: JobDefinition,
        ctx: JobContext,
        arguments: Mapping[str, Any],
        *,
        on_begin: Callable[[], None],
        on_end: Callable[[InvocationResult], None],
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
            self._on_end(InvocationResult(error=asyncio.CancelledError()))
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
        meter = CpuMeter(self._enter, self._leave)
        try:
            returned = await self._call(meter)
        except BaseException as error:  # noqa: BLE001 - whatever a job raises is its result
            finished = InvocationResult(error=error, cpu_ms=meter.cpu_ms)
        else:
            finished = InvocationResult(returned=returned, cpu_ms=meter.cpu_ms)
        finally:
            self._jobs.contexts.discard(self._ctx)
        self._on_end(finished)

    def _enter(self) -> None:
        """Tell the watchdog whose code the loop is in."""
        self._jobs.now_running = self._ctx

    def _leave(self) -> None:
        self._jobs.now_running = None

    async def _call(self, meter: CpuMeter) -> object:
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
        self, function: Callable[..., Any], arguments: dict[str, Any], meter: CpuMeter
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
