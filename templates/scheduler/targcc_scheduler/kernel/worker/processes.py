"""Worker processes for jobs with ``isolation: process``, and the protocol with them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pickle
import signal
import struct
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
from typing import IO, Any, TypeAlias

from ...core.errors import HookError
from ...core.processes import resident_bytes
from ...core.stop_signals import held_back
from ...core.stored_values import Here
from ..jobs.context import JobContext, Recorder, StopReason
from ..jobs.definition import JobDefinition
from ..jobs.files import File
from ..jobs.hooks import Hooks
from .outcome import Outcome, raised_outcome, read_wait, refused_outcome
from .runner import InvocationResult

# Protocol between a node and its worker processes: JSON objects, each preceded by its length (four bytes, big-endian).
#
# To the process: ``run`` (an attempt), ``stop`` (tell the job to stop), ``cancel`` (cancel the job's coroutine), ``step`` (the answer to
# ``find``, ``keep`` or ``attach``).
# From the process: ``ready``, ``begun``, ``log``, ``progress``, ``find`` and ``keep`` (steps), ``attach`` (a file), ``record`` (a line of the
# process's own log), ``ended``.

Message = dict[str, Any]

LONGEST = 64 * 2**20
"""Maximum length of a message, in bytes. A longer message is an error."""
_LENGTH = struct.Struct(">I")


class TooLongError(ValueError):
    """A message is longer than :data:`LONGEST`."""


class Channel:
    """One end of a pair of pipes. Any thread may send messages; a single thread receives.

    Args:
        source: The pipe to read messages from.
        target: The pipe to write messages to.
    """

    def __init__(self, source: IO[bytes], target: IO[bytes]) -> None:
        self._source = source
        self._target = target
        self._lock = threading.Lock()
        self._is_left = False

    def send(self, kind: str, **values: Any) -> None:
        """Send a message; do nothing after :meth:`leave`.

        Raises:
            OSError: The other end is closed.
            TooLongError: The message is longer than :data:`LONGEST`.
        """
        if self._is_left:
            return
        body = json.dumps({"kind": kind, **values}).encode()
        if len(body) > LONGEST:
            text = f"{len(body)} bytes are too many between a node and its worker process, which take {LONGEST}"
            raise TooLongError(text)
        with self._lock:
            self._target.write(_LENGTH.pack(len(body)) + body)
            self._target.flush()

    def receive(self) -> Message | None:
        """Return the next message; ``None`` if the other end is closed or the bytes are not a message."""
        try:
            head = self._source.read(_LENGTH.size)
            if len(head) < _LENGTH.size or (length := _LENGTH.unpack(head)[0]) > LONGEST:
                return None
            body = self._source.read(length)
            message = json.loads(body) if len(body) == length else None
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def leave(self) -> None:
        """Detach a forked copy of the process: send nothing from now on, and replace both pipes by the null device.

        So the copy does not keep the pipes open when the original process has ended.
        """
        self._is_left = True
        nothing = os.open(os.devnull, os.O_RDWR)
        for pipe in (self._source, self._target):
            os.dup2(nothing, pipe.fileno(), inheritable=False)
        os.close(nothing)

    def close(self) -> None:
        """Close the pipe to the other end, so that the other end reads end of file."""
        with contextlib.suppress(OSError):  # flushing unsent bytes fails if the other end is closed
            self._target.close()

    def close_source(self) -> None:
        """Close the pipe that messages come from. Called by the thread that receives."""
        with contextlib.suppress(OSError):
            self._source.close()


# Worker processes for jobs with ``isolation: process``.

# WorkerProcess: the node's handle of a worker process.

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
"""Signals that a process receives because of a fault in its own code."""
_ENDED_ON_WINDOWS = {
    1,  # TerminateProcess, as taskkill and service managers call it
    0xC000013A,  # STATUS_CONTROL_C_EXIT: a console event
    0x40010004,  # DBG_TERMINATE_PROCESS: the session ends
}


@dataclass(frozen=True)
class ProcessEnd:
    """The reason why a worker process has ended.

    Args:
        message: The reason, in words.
        from_outside: Whether the process was ended by neither the node nor its own code.
    """

    message: str
    from_outside: bool = False


@dataclass(frozen=True)
class ProcessSetup:
    """The data that a worker process receives at its start.

    Args:
        project: The fields of the project that the node runs.
        settings: The node's settings, pickled. A process whose jobs need no settings does not import the settings module.
        jobs_package: The package of the jobs.
        secrets: Values to mask in log lines and messages of the process.
        keys: Keys to decrypt arguments.
    """

    project: Mapping[str, Any]
    settings: bytes
    jobs_package: str
    secrets: tuple[str | bytes, ...] = field(default=(), repr=False)
    keys: tuple[str, ...] = field(default=(), repr=False)


class WorkerProcess:
    """Start and control one worker process. The process runs attempts one at a time.

    Args:
        module: The module whose ``main`` the process calls.
        setup: The data that the process receives at its start.
    """

    def __init__(self, module: str, setup: ProcessSetup) -> None:
        start = pickle.dumps(setup)
        with held_back():
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START.format(module=module), json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # gets no Ctrl-C
            )
        source, target = self._process.stdout, self._process.stdin
        if source is None or target is None:  # for the type checker: both are pipes
            raise RuntimeError("a worker process has no pipes")
        with contextlib.suppress(OSError):  # if the process has ended, the reader thread notices
            target.write(start)
            target.flush()
        self.channel = Channel(source, target)
        self.runs = 0
        self.is_ready = False
        """Whether the process has sent its first message other than a log record, so that it now receives messages."""
        self.is_spent = False
        """Whether the process must not run another attempt."""
        self.killed_for: str | None = None
        """The reason why the node killed the process, in words; ``None`` if the node gave none."""
        self._lock = threading.Lock()
        self._listener: Callable[[Message | None], None] | None = None
        self._is_silent = False
        self._reader = threading.Thread(
            target=self._read, name=f"targcc-process {self.pid}", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Return whether the process runs and its pipe is open. An ending process closes its pipes some time before it is gone."""
        return not self._is_silent and self._process.poll() is None

    def listen(self, listener: Callable[[Message | None], None]) -> None:
        """Call ``listener`` with each message of the process, in the reader's thread; ``None`` means that the process has ended.

        If the process has ended already, call ``listener`` with ``None`` at once.
        """
        with self._lock:
            self._listener, is_silent = listener, self._is_silent
        if is_silent:
            listener(None)

    def send(self, kind: str, **values: Any) -> None:
        """Send a message to the process; do nothing if the process is gone, as its listener hears of the end.

        Raises:
            TooLongError: The message is too long.
        """
        try:
            self.channel.send(kind, **values)
        except TooLongError:
            raise
        except (OSError, ValueError):  # closed
            pass

    def kill(self, reason: str | None = None) -> None:
        """Kill the process.

        Args:
            reason: The message of the resulting :class:`ProcessEnd`. The first reason is kept.
        """
        self.killed_for = self.killed_for or reason
        with contextlib.suppress(OSError):
            self._process.kill()

    def resident_mb(self) -> int:
        """Return the resident memory of the process now, in MiB; 0 if the process is gone."""
        try:
            return resident_bytes(self.pid) // 2**20
        except OSError:
            return 0

    def end(self) -> None:
        """Close the pipe, so that the process ends by itself; kill the process after 2 s."""
        self.channel.close()
        try:
            self._process.wait(_ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._reader.join(_ENDS_SECONDS)

    def how_it_ended(self) -> ProcessEnd:
        """Return why the process has ended; kill the process if it still runs after 2 s."""
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
    """Return whether an exit status means that the process was ended from outside: neither by a fault of its code nor by an exit."""
    if windows:
        return code in _ENDED_ON_WINDOWS
    return code < 0 and -code not in _FAULTS


def _exit_in_words(code: int) -> str:
    if code >= 0:
        shown = f"{code}" if code < 2**16 else f"{code:#x}"  # NTSTATUS in hex
        return f"ended with exit status {shown} in the middle of the run"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = f" ({_OUT_OF_MEMORY})" if name == "SIGKILL" else ""
    return f"was ended by {name}{why}"


# ProcessInvocation: one attempt in a worker process; exchange of messages, stop and kill.

_job_log = logging.getLogger("targcc.job")

Given = tuple[str | None, Here | None]
"""The arguments of a run as JSON, and the fetched files that the arguments refer to."""
When: TypeAlias = Callable[[Callable[[], None]], None]
"""Calls a function that begins an attempt, now or later."""
_KILL_SECONDS = 1.0
"""Seconds between the cancellation of a job's coroutine and the kill of its process."""
_LOOK_SECONDS = 0.2
"""Seconds between two checks of the memory of a job that has a memory limit."""


class ProcessInvocation:
    """Run one attempt in a worker process.

    Args:
        give_back: Takes the process back when the attempt has ended.
        definition: The job.
        ctx: The context of the attempt, in the node.
        recorder: Stores the log lines, progress, steps and files of the job.
        hooks: The hooks around the job.
        failures: Number of failed attempts if this attempt fails too.
        when: Calls the function that begins the attempt as soon as the lease holds. Starting a process may take long, and the run may
            belong to another node by then.
        on_begin: Called when the job begins.
        on_end: Called when the attempt has ended.
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
        """End the attempt with an error, as no process could be started."""
        if isinstance(why, ProcessEnd):
            self._end(_result_of_end(why))
        else:
            self._end(InvocationResult(raised_outcome(why)))

    def ends_unbegun(self) -> bool:
        """End the attempt if it was told to stop while it waited for a process; return whether it has ended so."""
        if self._stopped or self._told is not None:
            self._ctx.cancelled  # noqa: B018 - that marks it as noticed
            stopped = raised_outcome(asyncio.CancelledError())
            self._end(InvocationResult(stopped, interrupted=True))
            return True
        return False

    def start(self, process: WorkerProcess, arguments: Given) -> None:
        """Reserve a process that is ready, and call :meth:`_begin` as soon as ``when`` allows."""
        self._process, self._arguments = process, arguments
        process.runs += 1
        process.listen(self._heard)
        self._when(lambda: self._begin(process))

    def _begin(self, process: WorkerProcess) -> None:
        """Send the attempt to its process. If the attempt was told to stop meanwhile, end it instead: another node may have the run."""
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
        if self._told is not None:  # told to stop while the attempt was sent
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
        """Tell the job in the process to stop. An attempt without a process yet ends when it would begin."""
        self._told = reason, message
        if self._process is not None:
            self._process.send("stop", reason=str(reason), text=message)

    def stop(self) -> None:
        """Stop the job by force: raise ``CancelledError`` in its coroutine, and kill the process 1 s later if the attempt has not ended."""
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
        """Handle a message of the process, or its end. Called in the thread that reads from the process."""
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
            if self._stopped:  # the cancellation may still arrive and would hit the next attempt
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


# ProcessPool: the worker processes of a node. Idle processes wait for the next attempt; each process runs one attempt at a time.

_MOST_RUNS = 500
"""Number of runs after which a process is replaced, to bound memory leaks."""
_MOST_STARTING = max(2, os.cpu_count() or 2)
"""Maximum number of processes that start at the same time. Starting more processes than there are processors only slows all of them."""
_IDLE_SECONDS = 300.0
"""Seconds of idleness after which a process is ended. The check runs at the same interval, so that a process may idle twice as long."""
_SHUTS_DOWN = "the node is shutting down"


class ProcessPool:
    """Run attempts in worker processes; start processes on demand and reuse them.

    Args:
        module: The module whose ``main`` the processes call.
        setup: The data that each process receives at its start.
    """

    def __init__(self, module: str, setup: ProcessSetup) -> None:
        self._module = module
        self._setup = setup
        self._lock = threading.Lock()
        self._idle: list[tuple[float, WorkerProcess]] = []
        self._all: set[WorkerProcess] = set()
        self._waiting: deque[tuple[ProcessInvocation, Given]] = deque()
        self._to_come = 0  # number of processes that are starting or about to be created
        self._starting: set[WorkerProcess] = set()
        self._timer: threading.Timer | None = None
        self._stopped = False
        # One long-lived thread creates all processes: Linux ends a child together with the thread that created it (PR_SET_PDEATHSIG).
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="targcc-processes")

    def warm_up(self) -> None:
        """Start one process in advance for the first attempt."""
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
        """Begin an attempt in an idle process, or queue the attempt until a process is free.

        The attempt begins once ``when`` calls the function passed to it. ``on_begin`` and ``on_end`` may be called in other threads.
        """
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
        """Give a process that has started, or whose attempt has ended, to the next waiting attempt.

        Discard the process if it has ended, is spent or has done 500 runs, or if the pool is stopped.
        """
        spent = process.is_spent or process.runs >= _MOST_RUNS
        if spent or not process.alive or self._stopped:
            self._forget(process)
        elif (waiter := self._next_waiter(process)) is not None:
            invocation, arguments = waiter
            invocation.start(process, arguments)
        self._start_some()

    def _next_waiter(self, process: WorkerProcess) -> tuple[ProcessInvocation, Given] | None:
        """Remove and return the attempt that has waited longest and was not told to stop; mark the process idle if there is none."""
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
        """Fail the attempts that wait for a process, and end every process."""
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
        """End the processes that have been idle for ``_IDLE_SECONDS``; check again later while idle processes remain."""
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
        """Remove and return an idle process that is alive; ``None`` if there is none. The caller holds the lock."""
        while self._idle:
            _, process = self._idle.pop()
            if process.alive:
                return process
            self._forget(process)
        return None

    def _start_some(self) -> None:
        """Start processes for waiting attempts, at most ``_MOST_STARTING`` at the same time."""
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
            except RuntimeError:  # the executor is closed: the node is shutting down
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
        if process.is_ready:  # ready before the listener was set
            self._started(process, {})

    def _started(self, process: WorkerProcess, message: Message | None) -> None:
        """Handle the first message of a process, or its end before that; in the latter case fail the attempt that has waited longest."""
        with self._lock:
            if process not in self._starting:
                return
            self._starting.discard(process)
            self._to_come -= 1
        if message is None:
            self._fail_one(process.how_it_ended())
        self.give_back(process)

    def _fail_one(self, why: BaseException | ProcessEnd) -> bool:
        """Fail the attempt that has waited longest; return whether there was such an attempt."""
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


# Usage: processor time and memory of one attempt in a worker process.

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Usage:
    """Processor time and memory at the beginning of an attempt. The methods return the increase since then.

    Args:
        cpu: Seconds of processor time of the process and of child processes that have ended.
        resident: Bytes of resident memory.
    """

    cpu: float
    resident: int

    @classmethod
    def begin(cls) -> Usage:
        """Return the usage at this instant; on Linux, reset the peak of resident memory."""
        with contextlib.suppress(OSError):  # only Linux has this file
            _CLEAR_REFS.write_text("5", encoding="ascii")
        return cls(_cpu(), resident_bytes())

    def cpu_ms(self) -> int:
        """Return the processor time since the beginning, in milliseconds: of all threads and of child processes that have ended."""
        return round((_cpu() - self.cpu) * 1000)

    def memory_mb(self) -> int:
        """Return the growth of resident memory in MiB: up to the peak if the system tells the peak, else up to now; at least 0."""
        peak = _peak() or resident_bytes()
        return max(peak - self.resident, 0) // 2**20


def _cpu() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _peak() -> int | None:
    try:
        text = _STATUS.read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
