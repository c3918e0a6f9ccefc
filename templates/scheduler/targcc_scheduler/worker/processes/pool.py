"""The worker processes of a node: warm ones wait for the next attempt, each runs one at a time."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from ...jobs.context import JobContext
from ...jobs.definition import JobDefinition
from ...jobs.hooks.hooks import Hooks
from ...jobs.run_log import Recorder
from ..runner import InvocationResult
from .invocation import Given, ProcessInvocation, When
from .messages import Message
from .worker_process import ProcessEnd, ProcessSetup, WorkerProcess

_MOST_RUNS = 500
"""A process that has done so many runs is replaced: what leaks, leaks no more."""
_MOST_STARTING = max(2, os.cpu_count() or 2)
"""Processes that start at once: more of them than processors only hold each other up."""
_IDLE_SECONDS = 300.0
"""A process that nobody has wanted for so long is ended; the next look may come that much later again."""
_SHUTS_DOWN = "the node is shutting down"


class ProcessPool:
    """Runs attempts in worker processes.

    Args:
        module: Where the processes' ``main`` is.
        setup: What a process gets at its start.
    """

    def __init__(self, module: str, setup: ProcessSetup) -> None:
        self._module = module
        self._setup = setup
        self._lock = threading.Lock()
        self._idle: list[tuple[float, WorkerProcess]] = []
        self._all: set[WorkerProcess] = set()
        self._waiting: deque[tuple[ProcessInvocation, Given]] = deque()
        self._to_come = 0  # processes that start, or are about to be made
        self._starting: set[WorkerProcess] = set()
        self._timer: threading.Timer | None = None
        self._stopped = False
        # One thread that lives as long as the pool makes the processes: Linux ends a child with the thread it was made by.
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="targcc-processes")

    def warm_up(self) -> None:
        """Make a process that waits for the first attempt."""
        self._start(1)

    def begin(
        self,
        definition: JobDefinition,
        ctx: JobContext,
        arguments: Given,
        *,
        hooks: Hooks | None = None,
        recorder: Recorder,
        failures: int = 1,
        when: When,
        on_begin: Callable[[], None],
        on_end: Callable[[InvocationResult], None],
    ) -> ProcessInvocation:
        """Begin an attempt, in a process that is free or in the next one that is, as soon as ``when`` allows it; both callbacks are called from other threads."""
        invocation = ProcessInvocation(
            self.give_back,
            definition,
            ctx,
            recorder,
            hooks=hooks,
            failures=failures,
            when=when,
            on_begin=on_begin,
            on_end=on_end,
        )
        with self._lock:
            if (process := self._take()) is None:
                self._waiting.append((invocation, arguments))
        if process is not None:
            invocation.start(process, arguments)
        else:
            self._start_some()
        return invocation

    def give_back(self, process: WorkerProcess) -> None:
        """A process has started, or an attempt has ended, and its process with it or not: the next attempt that waits gets it."""
        spent = process.is_spent or process.runs >= _MOST_RUNS
        if spent or not process.alive or self._stopped:
            self._forget(process)
        elif (waiter := self._next_waiter(process)) is not None:
            invocation, arguments = waiter
            invocation.start(process, arguments)
        self._start_some()

    def _next_waiter(self, process: WorkerProcess) -> tuple[ProcessInvocation, Given] | None:
        """The attempt that has waited longest, and is still to begin; if there is none the process is idle."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._idle.append((time.monotonic(), process))
                    self._look_at_idle_later()
                    return None
                waiter = self._waiting.popleft()
            if not waiter[0].ends_unbegun():
                return waiter

    def stop(self) -> None:
        """End every process."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._maker.shutdown(cancel_futures=True)
        while self._fail_one(RuntimeError(_SHUTS_DOWN)):
            pass
        for process in list(self._all):
            process.channel.close()
        for process in list(self._all):
            process.end()
        self._all.clear()

    def _look_at_idle_later(self) -> None:
        if self._timer is None and not self._stopped:
            self._timer = threading.Timer(_IDLE_SECONDS, self._end_idle)
            self._timer.daemon = True
            self._timer.start()

    def _end_idle(self) -> None:
        """End the processes that nobody has wanted for long; look again as long as others wait."""
        since = time.monotonic() - _IDLE_SECONDS
        with self._lock:
            self._timer = None
            old = [process for at, process in self._idle if at <= since]
            self._idle = [item for item in self._idle if item[0] > since]
            if self._idle:
                self._look_at_idle_later()
        for process in old:
            self._forget(process)

    def _take(self) -> WorkerProcess | None:
        """An idle process; the lock is held."""
        while self._idle:
            _, process = self._idle.pop()
            if process.alive:
                return process
            self._forget(process)
        return None

    def _start_some(self) -> None:
        """Start processes for the attempts that wait."""
        with self._lock:
            count = max(0, min(len(self._waiting), _MOST_STARTING) - self._to_come)
        if count and not self._stopped:
            self._start(count)

    def _start(self, count: int) -> None:
        with self._lock:
            self._to_come += count
        for _ in range(count):
            try:
                self._maker.submit(self._make).add_done_callback(self._made)
            except RuntimeError:  # meanwhile the node is shutting down
                return

    def _make(self) -> WorkerProcess:
        if self._stopped:
            raise RuntimeError(_SHUTS_DOWN)
        process = WorkerProcess(self._module, self._setup)
        self._all.add(process)
        self._starting.add(process)
        return process

    def _made(self, made: Future[WorkerProcess]) -> None:
        error = RuntimeError(_SHUTS_DOWN) if made.cancelled() else made.exception()
        if error is not None:
            with self._lock:
                self._to_come -= 1
            self._fail_one(error)
            self._start_some()
            return
        process = made.result()
        process.listen(partial(self._started, process))
        if process.is_ready:  # it was before anybody listened
            self._started(process, {})

    def _started(self, process: WorkerProcess, message: Message | None) -> None:
        """A process is ready, or has ended before it was, which an attempt that waits for one is told of."""
        with self._lock:
            if process not in self._starting:
                return
            self._starting.discard(process)
            self._to_come -= 1
        if message is None:
            self._fail_one(process.how_it_ended())
        self.give_back(process)

    def _fail_one(self, why: BaseException | ProcessEnd) -> bool:
        """End the attempt that has waited longest; whether there was one."""
        with self._lock:
            if not self._waiting:
                return False
            invocation, _ = self._waiting.popleft()
        invocation.fail(why)
        return True

    def _forget(self, process: WorkerProcess) -> None:
        def end() -> None:
            process.end()
            self._all.discard(process)

        threading.Thread(target=end, name=f"targcc-end {process.pid}", daemon=True).start()
