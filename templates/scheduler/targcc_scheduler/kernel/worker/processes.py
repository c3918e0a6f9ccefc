"""Worker processes for jobs with ``isolation: process``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import psutil

from ...core.errors import HookError
from ...core.stop_signals import held_back
from ...core.stored_values import Here
from ..jobs.context import JobContext, Recorder, StopReason
from ..jobs.definition import JobDefinition
from ..jobs.files import File
from ..jobs.hooks import Hooks
from .outcome import Outcome, raised_outcome, read_wait, refused_outcome
from .process_messages import Channel, Message, TooLongError
from .runner import InvocationResult

# A worker process, as its node sees it.

log = logging.getLogger("targcc.worker.processes")

_ENDS_SECONDS = 2.0
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; main()"
)
_OUT_OF_MEMORY = "by hand, or by the system because memory ran out"
_FAULTS = {
    getattr(signal, name, 0)
    for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS")
}
"""The signals that a process gets for what its own code did."""
_ENDED_ON_WINDOWS = {
    1,  # TerminateProcess, as taskkill and service managers call it
    0xC000013A,  # STATUS_CONTROL_C_EXIT: a console event
    0x40010004,  # DBG_TERMINATE_PROCESS: the session ends
}


@dataclass(frozen=True)
class ProcessEnd:
    """Why a worker process is gone.

    Args:
        message: The reason, for people.
        from_outside: Whether neither the node nor the process's own code ended it.
    """

    message: str
    from_outside: bool = False


@dataclass(frozen=True)
class ProcessSetup:
    """What a worker process gets at its start.

    Args:
        project: The fields of the project that its node runs.
        settings: The node's settings, pickled: a process whose jobs need none does not import what they are made of.
        jobs_package: Where the jobs are.
        secrets: Values to mask in what it says.
        keys: Open sealed arguments.
    """

    project: Mapping[str, Any]
    settings: bytes
    jobs_package: str
    secrets: tuple[str | bytes, ...] = field(default=(), repr=False)
    keys: tuple[str, ...] = field(default=(), repr=False)


class WorkerProcess:
    """One process that runs attempts of jobs, one at a time.

    Args:
        module: Where the process's ``main`` is.
        setup: What it gets at its start.
    """

    def __init__(self, module: str, setup: ProcessSetup) -> None:
        start = pickle.dumps(setup)
        with held_back():
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START.format(module=module), json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # no Ctrl-C there
            )
        source, target = self._process.stdout, self._process.stdin
        if source is None or target is None:  # they were asked for
            raise RuntimeError("a worker process has no pipes")
        with contextlib.suppress(OSError):  # if it is gone, the reader finds out
            target.write(start)
            target.flush()
        self.channel = Channel(source, target)
        self.runs = 0
        self.is_ready = False
        """Whether it has come so far that it hears what it is told."""
        self.is_spent = False
        """Whether it is not to run anything more."""
        self.killed_for: str | None = None
        """Why the node killed it."""
        self._lock = threading.Lock()
        self._listener: Callable[[Message | None], None] | None = None
        self._is_silent = False
        self._reader = threading.Thread(
            target=self._read, name=f"targcc-process {self.pid}", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs and can be heard. A process that ends closes its pipes first, and is there for a while yet."""
        return not self._is_silent and self._process.poll() is None

    def listen(self, listener: Callable[[Message | None], None]) -> None:
        """Give what it says to ``listener``, from another thread; ``None`` says that it has ended, at once if it has."""
        with self._lock:
            self._listener, is_silent = listener, self._is_silent
        if is_silent:
            listener(None)

    def send(self, kind: str, **values: Any) -> None:
        """Tell it something; nothing happens if it is gone, which its listener hears.

        Raises:
            TooLongError: it cannot be told, since it is too long.
        """
        try:
            self.channel.send(kind, **values)
        except TooLongError:
            raise
        except (OSError, ValueError):  # closed
            pass

    def kill(self, reason: str | None = None) -> None:
        """End it at once.

        Args:
            reason: What is said of it.
        """
        self.killed_for = self.killed_for or reason
        with contextlib.suppress(OSError):
            self._process.kill()

    def resident_mb(self) -> int:
        """Its resident memory now, in MiB; 0 when it is gone."""
        import psutil  # only where jobs have processes

        try:
            return int(psutil.Process(self.pid).memory_info().rss) // 2**20
        except psutil.Error:
            return 0

    def end(self) -> None:
        """Let it end: it sees that nobody speaks to it any more. Killed if it does not."""
        self.channel.close()
        try:
            self._process.wait(_ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._reader.join(_ENDS_SECONDS)

    def how_it_ended(self) -> ProcessEnd:
        """Why the process is gone."""
        try:
            code = self._process.wait(_ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill("the job's process closed its connection to the node, and was killed")
            code = self._process.wait()
        if self.killed_for is not None:
            return ProcessEnd(self.killed_for)
        outside = ended_from_outside(code, windows=os.name == "nt")
        return ProcessEnd(f"the job's process {_exit_in_words(code)}", outside)

    def _read(self) -> None:
        try:
            while (message := self.channel.receive()) is not None:
                if message.get("kind") == "record":
                    logger = logging.getLogger(message["logger"])
                    logger.log(message["level"], "%s", message["text"])
                    continue
                self.is_ready = True
                if self._listener is not None:
                    self._listener(message)
        except Exception:
            log.exception("worker process %d said what is no message, and is killed", self.pid)
            self.kill("the job's process said what is no message to the node, and was killed")
        self.channel.close_source()
        with self._lock:
            self._is_silent, listener = True, self._listener
        if listener is not None:
            listener(None)


def ended_from_outside(code: int, *, windows: bool) -> bool:
    """Return whether an exit status tells of a process that somebody else ended: no fault of its own code, and no exit."""
    if windows:
        return code in _ENDED_ON_WINDOWS
    return code < 0 and -code not in _FAULTS


def _exit_in_words(code: int) -> str:
    if code >= 0:
        shown = f"{code}" if code < 2**16 else f"{code:#x}"  # as Windows writes its own
        return f"ended with exit status {shown} in the middle of the run"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = f" ({_OUT_OF_MEMORY})" if name == "SIGKILL" else ""
    return f"was ended by {name}{why}"


# One attempt in a worker process: what the two say to each other, and how it is stopped.

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


# The worker processes of a node: warm ones wait for the next attempt, each runs one at a time.

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


# Processor time and memory of one attempt that has a process to itself.

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Usage:
    """What was used before; the methods say how much more it is now.

    Args:
        cpu: Seconds of processor time of the process and of the processes it has waited for.
        resident: Bytes of resident memory.
    """

    cpu: float
    resident: int

    @classmethod
    def begin(cls) -> Usage:
        """Measure from now on."""
        with contextlib.suppress(OSError):  # Linux: the peak starts anew
            _CLEAR_REFS.write_text("5", encoding="ascii")
        return cls(_cpu(), psutil.Process().memory_info().rss)

    def cpu_ms(self) -> int:
        """Processor time since, in milliseconds: of all threads, and of child processes that have ended."""
        return round((_cpu() - self.cpu) * 1000)

    def memory_mb(self) -> int:
        """By how much the resident memory grew at its peak (where the system tells it, else now), in MiB; 0 when it shrank."""
        peak = _peak() or psutil.Process().memory_info().rss
        return max(peak - self.resident, 0) // 2**20


def _cpu() -> float:
    times = psutil.Process().cpu_times()
    children = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return time.process_time() + children


def _peak() -> int | None:
    try:
        text = _STATUS.read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
