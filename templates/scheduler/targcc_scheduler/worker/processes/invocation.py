"""One attempt in a worker process: what the two say to each other, and how it is stopped."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from ...core.errors import HookError
from ...core.kept.references import Here
from ...jobs.context import JobContext, StopReason
from ...jobs.definition import JobDefinition
from ...jobs.files.file import File
from ...jobs.hooks.hooks import Hooks
from ...jobs.run_log import Recorder
from ..outcome import Outcome, raised_outcome, read_wait, refused_outcome
from ..runner import InvocationResult
from .messages import Message, TooLongError
from .worker_process import ProcessEnd, WorkerProcess

_job_log = logging.getLogger("targcc.job")

Given = tuple[str | None, Here | None]
"""The arguments of a run, and where on this machine is what they refer to."""
When: TypeAlias = Callable[[Callable[[], None]], None]
"""Calls what begins an attempt, now or later."""
_KILL_SECONDS = 1.0
"""After a job was stopped by force: when its process is killed."""
_LOOK_SECONDS = 0.2
"""How often the memory of a run that has a limit is looked at."""


class ProcessInvocation:
    """One attempt in a worker process.

    Args:
        give_back: Gets the process when the attempt has ended.
        definition: The job.
        ctx: Of the attempt.
        recorder: Takes what the job records.
        hooks: What is around the job.
        failures: How many attempts have failed if this one does.
        when: Lets it begin: a process may take long to start, and the run may be another node's by then.
        on_begin: Is called when the job begins.
        on_end: Is called when the attempt has ended.
    """

    def __init__(
        self,
        give_back: Callable[[WorkerProcess], None],
        definition: JobDefinition,
        ctx: JobContext,
        recorder: Recorder,
        *,
        hooks: Hooks | None,
        failures: int,
        when: When,
        on_begin: Callable[[], None],
        on_end: Callable[[InvocationResult], None],
    ) -> None:
        self.job_thread: threading.Thread | None = None
        self.in_thread = False
        self._give_back = give_back
        self._definition = definition
        self._ctx = ctx
        self._recorder = recorder
        self._hooks = hooks or Hooks()
        self._failures = failures
        self._when = when
        self._on_begin = on_begin
        self._on_end = on_end
        self._process: WorkerProcess | None = None
        self._arguments: Given = (None, None)
        self._over = threading.Event()
        self._told: tuple[StopReason, str] | None = None
        self._stopped = False

    def fail(self, why: BaseException | ProcessEnd) -> None:
        """End, since there is no process to begin in."""
        if isinstance(why, ProcessEnd):
            self._end(_result_of_end(why))
        else:
            self._end(InvocationResult(raised_outcome(why)))

    def ends_unbegun(self) -> bool:
        """End if it was told to stop while it waited for a process; whether it was."""
        if self._stopped or self._told is not None:
            self._ctx.cancelled  # noqa: B018 - that marks it as noticed
            stopped = raised_outcome(asyncio.CancelledError())
            self._end(InvocationResult(stopped, interrupted=True))
            return True
        return False

    def start(self, process: WorkerProcess, arguments: Given) -> None:
        """Begin in a process, which is ready; :meth:`_begin` as soon as that is allowed."""
        self._process, self._arguments = process, arguments
        process.runs += 1
        process.listen(self._heard)
        self._when(lambda: self._begin(process))

    def _begin(self, process: WorkerProcess) -> None:
        """Give the attempt to its process, unless it was told to stop meanwhile: then it may be another node's by now."""
        if self._over.is_set() or self.ends_unbegun():
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
                failures=self._failures,
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
        """Stop it by force: its coroutine gets ``CancelledError``; then the process is killed."""
        self._stopped = True
        process = self._process
        if process is None:
            return
        process.send("cancel")
        timer = threading.Timer(_KILL_SECONDS, self._kill, (process,))
        timer.daemon = True
        timer.start()

    def _kill(self, process: WorkerProcess) -> None:
        if not self._over.is_set():
            process.kill()

    def _heard(self, message: Message | None) -> None:
        """The process has said something; from the thread that reads it."""
        process = self._process
        if process is None or self._over.is_set():
            return
        if message is None:
            self._end(_result_of_end(process.how_it_ended()))
            return
        match message["kind"]:
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
        finished = InvocationResult(
            outcome,
            *used,
            interrupted=message["interrupted"],
            asked=message["asked"],
            wait=read_wait(message["wait"]),
        )
        self._end(finished)

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
            self._give_back(process)
        self._on_end(finished)

    def _watch_memory(self, process: WorkerProcess, limit: int) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            used = process.resident_mb()
            if used > limit:
                process.kill(f"the job used {used} MiB of memory, and may use {limit}")
                return


def _result_of_end(end: ProcessEnd) -> InvocationResult:
    outcome = Outcome(ok=False, message=end.message)
    return InvocationResult(outcome, from_outside=end.from_outside)
