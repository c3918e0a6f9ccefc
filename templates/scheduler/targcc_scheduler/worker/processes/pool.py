"""The worker processes of a node: warm ones wait for the next attempt, each runs one at a time."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...core.errors import HookError
from ...core.kept.references import Here
from ...jobs.context import JobContext, StopReason
from ...jobs.definition import JobDefinition
from ...jobs.files.file import File
from ...jobs.hooks.hooks import Hooks
from ...jobs.run_log import Recorder
from ..outcome import Outcome, raised_outcome, refused_outcome
from ..runner import InvocationResult
from .messages import Message, TooLongError
from .worker_process import ProcessSetup, WorkerProcess

log = logging.getLogger("targcc.worker.processes")

_job_log = logging.getLogger("targcc.job")

Given = tuple[str | None, Here | None]
"""The arguments of a run, and where on this machine is what they refer to."""
_MOST_RUNS = 500
"""A process that has done so many runs is replaced: what leaks, leaks no more."""
_IDLE_SECONDS = 300.0
"""A process that nobody has wanted for so long is ended; the next look may come that much later again."""
_TERMINATE_SECONDS, _KILL_SECONDS = 0.6, 1.2
"""After a job was stopped by force: when its process is asked to end, and when it is killed."""
_LOOK_SECONDS = 0.2
"""How often the memory of a run that has a limit is looked at."""


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
        self._timer: threading.Timer | None = None
        self._stopped = False
        # One thread that lives as long as the pool makes the processes: Linux ends a child with the thread it was made by.
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="targcc-processes")

    def warm_up(self) -> None:
        """Make a process that waits for the first attempt."""
        self._maker.submit(self._make).add_done_callback(self._ready)

    def begin(
        self,
        definition: JobDefinition,
        ctx: JobContext,
        arguments: Given,
        *,
        hooks: Hooks | None = None,
        recorder: Recorder,
        on_begin: Callable[[], None],
        on_end: Callable[[InvocationResult], None],
    ) -> ProcessInvocation:
        """Begin an attempt; both callbacks are called from other threads."""
        invocation = ProcessInvocation(
            self, definition, ctx, recorder, hooks=hooks, on_begin=on_begin, on_end=on_end
        )
        if (process := self._take()) is not None:
            invocation.start(process, arguments)
        else:
            self._maker.submit(self._make).add_done_callback(
                lambda made: invocation.start_with(made, arguments)
            )
        return invocation

    def give_back(self, process: WorkerProcess) -> None:
        """An attempt has ended, and its process with it or not."""
        spent = process.is_spent or process.runs >= _MOST_RUNS
        if spent or not process.alive or self._stopped:
            self._forget(process)
            return
        with self._lock:
            self._idle.append((time.monotonic(), process))
            self._look_at_idle_later()

    def stop(self) -> None:
        """End every process."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._maker.shutdown(cancel_futures=True)
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
        with self._lock:
            while self._idle:
                _, process = self._idle.pop()
                if process.alive:
                    return process
                self._forget(process)
        return None

    def _make(self) -> WorkerProcess:
        if self._stopped:
            raise RuntimeError("the node is shutting down")
        process = WorkerProcess(self._module, self._setup)
        self._all.add(process)
        return process

    def _ready(self, made: Future[WorkerProcess]) -> None:
        if not made.cancelled() and made.exception() is None:
            self.give_back(made.result())

    def _forget(self, process: WorkerProcess) -> None:
        def end() -> None:
            process.end()
            self._all.discard(process)

        threading.Thread(target=end, name=f"targcc-end {process.pid}", daemon=True).start()


class ProcessInvocation:
    """One attempt in a worker process."""

    def __init__(
        self,
        pool: ProcessPool,
        definition: JobDefinition,
        ctx: JobContext,
        recorder: Recorder,
        *,
        hooks: Hooks | None,
        on_begin: Callable[[], None],
        on_end: Callable[[InvocationResult], None],
    ) -> None:
        self.job_thread: threading.Thread | None = None
        self.in_thread = False
        self._pool = pool
        self._definition = definition
        self._ctx = ctx
        self._recorder = recorder
        self._hooks = hooks or Hooks()
        self._on_begin = on_begin
        self._on_end = on_end
        self._process: WorkerProcess | None = None
        self._arguments: Given = (None, None)
        self._lock = threading.Lock()
        self._begun = False
        self._over = threading.Event()
        self._told: tuple[StopReason, str] | None = None
        self._stopped = False

    def start_with(self, made: Future[WorkerProcess], arguments: Given) -> None:
        """Begin in a process that is being made."""
        error = RuntimeError("the node is shutting down") if made.cancelled() else made.exception()
        if error is not None:
            self._end(InvocationResult(raised_outcome(error)))
            return
        self.start(made.result(), arguments)

    def start(self, process: WorkerProcess, arguments: Given) -> None:
        """Begin in a process: at once in one that waits, else when it is ready."""
        self._process, self._arguments = process, arguments
        process.runs += 1
        process.listen(self._heard)
        if process.is_ready and not self._over.is_set():
            self._begin(process)

    def _begin(self, process: WorkerProcess) -> None:
        """Give the attempt to its process, unless it was told to stop while that started: then it may be another node's by now."""
        with self._lock:
            if self._begun:
                return
            self._begun = True
        if self._stopped or self._told is not None:
            self._ctx.cancelled  # noqa: B018 - that marks it as noticed
            stopped = raised_outcome(asyncio.CancelledError())
            self._end(InvocationResult(stopped, interrupted=True))
            return
        text, here = self._arguments
        contents = here.contents if here is not None else {}
        files = {sha256: str(path) for sha256, path in contents.items()}
        try:
            process.send(
                "run",
                name=self._definition.name,
                module=self._definition.target.__module__,
                qualname=self._definition.target.__qualname__,
                arguments=text,
                files=files,
                run_id=self._ctx.run_id,
                attempt=self._ctx.attempt,
                scheduled_for=self._ctx.scheduled_for.isoformat(),
                timezone=self._definition.timezone,
                triggered_by=self._ctx.triggered_by,
                trace=self._ctx.trace,
                hooks=self._hooks.places(),
                parents=[asdict(run) for run in self._ctx.parents.runs],
            )
        except HookError as error:
            self._end(InvocationResult(raised_outcome(error)))
            return
        except TooLongError as error:
            self._end(InvocationResult(refused_outcome(f"its arguments: {error}")))
            return
        if self._told is not None:  # meanwhile
            self.tell(*self._told)
        if self._stopped:
            self.stop()
        if self._definition.memory_limit is not None:
            threading.Thread(
                target=self._watch_memory,
                args=(process, self._definition.memory_limit),
                name=f"targcc-memory {process.pid}",
                daemon=True,
            ).start()

    def tell(self, reason: StopReason, message: str) -> None:
        """Tell the job to stop."""
        self._told = reason, message
        if self._process is not None:
            self._process.send("stop", reason=str(reason), text=message)

    def stop(self) -> None:
        """Stop it by force: its coroutine gets ``CancelledError``; then the process is terminated, then killed."""
        self._stopped = True
        process = self._process
        if process is None:
            return
        process.send("cancel")
        for seconds, act in (
            (_TERMINATE_SECONDS, process.terminate),
            (_KILL_SECONDS, process.kill),
        ):
            timer = threading.Timer(seconds, self._unless_over, (act,))
            timer.daemon = True
            timer.start()

    def _unless_over(self, act: Callable[[], None]) -> None:
        if not self._over.is_set():
            act()

    def _heard(self, message: Message | None) -> None:
        """The process has said something; from the thread that reads it."""
        process = self._process
        if process is None or self._over.is_set():
            return
        if message is None:
            self._end(InvocationResult(Outcome(ok=False, message=process.how_it_ended())))
            return
        match message["kind"]:
            case "ready":
                self._begin(process)
            case "begun":
                self._on_begin()
            case "log":
                self._recorder.write(message["level"], message["message"])
                level = logging.getLevelNamesMapping()[message["level"].upper()]
                _job_log.log(level, "%s", message["message"], extra={"job": self._ctx.job_name})
            case "progress":
                self._recorder.progress(message["done"], message["total"])
            case "find":
                self._answer(message, self._recorder.find_step(message["name"]))
            case "keep" | "attach":
                self._answer(message, self._keep(message))
            case "ended":
                self._said_end(process, message)

    def _keep(self, message: Message) -> Future[None]:
        if message["kind"] == "attach":
            path = Path(message["path"])
            file = File(path, name=message["name"], content_type=message["type"])
            return self._recorder.attach(file)
        return self._recorder.keep_step(message["name"], message["result"], message["duration_ms"])

    def _said_end(self, process: WorkerProcess, message: Message) -> None:
        if message["noticed"]:
            self._ctx.cancelled  # noqa: B018 - that marks it as noticed
        process.is_spent = message["spent"]
        outcome, used = Outcome(**message["outcome"]), (message["cpu_ms"], message["memory_mb"])
        self._end(InvocationResult(outcome, *used, interrupted=message["interrupted"]))

    def _answer(self, question: Message, answer: Future[Any]) -> None:
        def answered(done: Future[Any]) -> None:
            error = done.exception()
            values = {"value": done.result()} if error is None else {"error": repr(error)}
            if (process := self._process) is None:
                return
            try:
                process.send("step", number=question["number"], **values)
            except TooLongError as too_long:
                process.send("step", number=question["number"], error=str(too_long))

        answer.add_done_callback(answered)

    def _end(self, finished: InvocationResult) -> None:
        if self._over.is_set():
            return
        self._over.set()
        process, self._process = self._process, None
        if process is not None:
            if self._stopped:  # a signal may be on its way to it
                process.is_spent = True
                process.kill()
            self._pool.give_back(process)
        self._on_end(finished)

    def _watch_memory(self, process: WorkerProcess, limit: int) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            used = process.resident_mb()
            if used > limit:
                process.kill(f"the job used {used} MiB of memory, and may use {limit}")
                return
