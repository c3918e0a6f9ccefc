"""A worker process, as its node sees it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core.stop_signals import held_back
from .messages import Channel, Message, TooLongError

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
