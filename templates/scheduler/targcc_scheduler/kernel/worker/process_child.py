"""Main loop of a worker process: receive attempts from the node, run each on the jobs' loop, send the results."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ...core.stored_values import LONGEST_LOG_LINE, Here, kept_text
from ..jobs.chains import ParentRun, Parents
from ..jobs.context import JobContext, StopReason
from ..jobs.definition import JobDefinition
from ..jobs.files import File
from ..jobs.tracing import TRACING
from .outcome import raised_outcome, rule_wait, written_wait
from .processes import Channel, Message, Usage
from .runner import Invocation, InvocationResult, JobLoop

Complete = Callable[[Any, str], JobDefinition]
"""Makes a job's definition from its class or function and its name."""


class ChildRecorder:
    """Send the log lines, progress, steps and files of a job to the node.

    Args:
        channel: The connection to the node.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._questions: dict[int, Future[Any]] = {}
        self._numbers = itertools.count()

    def write(self, level: str, message: str) -> None:
        """Send a log line."""
        self._channel.send("log", level=level, message=message)

    def progress(self, done: float, total: float | None) -> None:
        """Send the progress."""
        self._channel.send("progress", done=done, total=total)

    def find_step(self, name: str) -> Future[str | None]:
        """Ask the node for the result of a step, as JSON; ``None`` if the step has not finished."""
        return self._ask("find", name=name)

    def keep_step(self, name: str, result_json: str, duration_ms: int) -> Future[None]:
        """Ask the node to store the result of a step."""
        return self._ask("keep", name=name, result=result_json, duration_ms=duration_ms)

    def attach(self, file: File) -> Future[None]:
        """Ask the node to store a file. The node runs on this machine and reads the file by its path.

        Content that is not in a file is written to a temporary file, which is removed after the answer.
        """
        source = file.source
        if isinstance(source, Path):
            return self._attach(file, source.absolute())
        import tempfile  # only where there are files

        handle, name = tempfile.mkstemp(prefix="targcc-file-")
        with os.fdopen(handle, "wb") as content:
            content.write(source)
        path = Path(name)
        kept = self._attach(file, path)
        kept.add_done_callback(lambda _: path.unlink(missing_ok=True))
        return kept

    def _attach(self, file: File, path: Path) -> Future[None]:
        return self._ask("attach", path=str(path), name=file.name, type=file.content_type)

    def answered(self, message: Message) -> None:
        """Resolve the future of the question that the node has answered."""
        future = self._questions.pop(message["number"])
        if message.get("error") is None:
            future.set_result(message.get("value"))
        else:
            future.set_exception(RuntimeError(message["error"]))

    def _ask(self, kind: str, **values: Any) -> Future[Any]:
        number, future = next(self._numbers), Future[Any]()
        self._questions[number] = future
        self._channel.send(kind, number=number, **values)
        return future


class Child:
    """The worker process: handle the node's messages, and run one attempt at a time.

    Args:
        channel: The connection to the node.
        jobs: The loop on which the jobs run.
        complete: Makes definitions of jobs.
    """

    def __init__(self, channel: Channel, jobs: JobLoop, complete: Complete) -> None:
        self._channel = channel
        self._jobs = jobs
        self._complete = complete
        self._ctx: JobContext | None = None
        self._invocation: Invocation | None = None
        self._failures = 1
        self._recorder = ChildRecorder(channel)
        self._has_forked = False
        self._is_copy = False

    def serve(self) -> None:
        """Handle messages until the node closes the connection; then exit at once, without waiting for a running job."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_parent=self._forked, after_in_child=self._be_a_copy)
        self._channel.send("ready")
        while (message := self._channel.receive()) is not None:
            self._heard(message)
        TRACING.flush()
        os._exit(0)

    def _forked(self) -> None:
        """Note that a job has forked. The copy shares the file descriptors of the jobs' loop, so this process runs no further attempt."""
        self._has_forked = True

    def _be_a_copy(self) -> None:
        self._is_copy = True
        self._channel.leave()

    def _heard(self, message: Message) -> None:
        match message["kind"]:
            case "run":
                self._run(message)
            case "stop" if self._ctx is not None:
                self._ctx.tell_to_stop(StopReason(message["reason"]), message["text"])
            case "cancel" if self._invocation is not None:
                self._invocation.stop()
            case "step":
                self._recorder.answered(message)

    def _run(self, message: Message) -> None:
        try:
            definition = self._complete(
                _target(message["module"], message["qualname"]), message["name"]
            )
            files = {sha256: Path(path) for sha256, path in message["files"].items()}
            arguments = definition.signature.load(message["arguments"], Here(files))
            hooks = [_target(module, name) for module, name in message["hooks"]]
        except Exception as error:  # noqa: BLE001 - it cannot be begun here, which is its result
            self._send_end(InvocationResult(raised_outcome(error)), Usage.begin())
            return
        self._ctx = JobContext(
            definition,
            run_id=message["run_id"],
            attempt=message["attempt"],
            scheduled_for=datetime.fromisoformat(message["scheduled_for"]).astimezone(
                ZoneInfo(message["timezone"])
            ),
            triggered_by=message["triggered_by"],
            recorder=self._recorder,
            trace=message["trace"],
            parents=Parents([ParentRun(**run) for run in message["parents"]]),
        )
        self._failures = message["failures"]
        usage = Usage.begin()
        self._invocation = self._jobs.begin(
            definition,
            self._ctx,
            arguments,
            hooks=hooks,
            on_begin=lambda: self._channel.send("begun"),
            on_end=lambda finished: self._send_end(finished, usage),
        )

    def _send_end(self, finished: InvocationResult, usage: Usage) -> None:
        if self._is_copy:  # the job continued in both processes; the original sends the result
            os._exit(0)
        finished = self._with_wait(finished)
        ctx, self._ctx, self._invocation = self._ctx, None, None
        self._channel.send(
            "ended",
            outcome=dataclasses.asdict(finished.outcome),
            noticed=ctx is not None and ctx.noticed,
            interrupted=finished.interrupted,
            cpu_ms=usage.cpu_ms(),
            memory_mb=usage.memory_mb(),
            asked=finished.asked,
            wait=written_wait(finished.wait),
            spent=self._has_forked,
        )

    def _with_wait(self, finished: InvocationResult) -> InvocationResult:
        """Call the job's back-off rule if the attempt will be retried, and return the result with the rule's answer.

        The rule is called in this process because the job's exception exists only here.
        """
        ctx, outcome = self._ctx, finished.outcome
        if ctx is None or ctx.definition.backoff_rule is None or outcome.ok or not outcome.retry:
            return finished
        is_last = self._failures > ctx.definition.retries
        if is_last or finished.interrupted or ctx.stop_reason not in {None, StopReason.SHUTDOWN}:
            return finished
        error = finished.error or RuntimeError(outcome.message)
        wait = rule_wait(ctx.definition, ctx, self._failures, error)
        return dataclasses.replace(finished, asked=True, wait=wait)


class ForwardLog(logging.Handler):
    """Send the log records of the process to the node. The node writes them to its own log.

    Args:
        channel: The connection to the node.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.INFO)
        self._channel = channel
        self._here = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record. Records of ``ctx.log`` are skipped, as :class:`ChildRecorder` sends them."""
        if record.name == "targcc.job" or getattr(self._here, "busy", False):
            return
        self._here.busy = True
        try:
            text = kept_text(self.format(record), LONGEST_LOG_LINE)
            self._channel.send("record", logger=record.name, level=record.levelno, text=text)
        except Exception:  # noqa: BLE001 - a log line must not end a job
            self.handleError(record)
        finally:
            self._here.busy = False


def _target(module: str, qualname: str) -> Any:
    return reduce(getattr, qualname.split("."), importlib.import_module(module))
