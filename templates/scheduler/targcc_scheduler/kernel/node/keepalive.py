"""A node's keepalive process, from the node's side: heartbeat files, stack dumps, starting and stopping the process.

Beside a SQLite database, each node has a file of twenty digits in the folder ``<database>-nodes``. The node, or its keepalive process,
rewrites the file at each heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from ...core.clock import together
from ...core.stop_signals import held_back
from ...db.transactions import Store
from ...settings import Settings
from .keepalive_program import SPENT

# Heartbeat files beside a SQLite database. A heartbeat in the database would wait for the write lock; a heartbeat in a file does not wait.


class BeatFiles:
    """Heartbeat files of all nodes on a SQLite database.

    Args:
        database: The SQLite file; ``None`` for a database with many writers, which needs no heartbeat files.
    """

    def __init__(self, database: Path | None) -> None:
        self._folder = (
            None if database is None else database.absolute().with_name(database.name + "-nodes")
        )

    def path(self, server_id: str) -> Path | None:
        """Return the heartbeat file of a node; ``None`` without heartbeat files."""
        if self._folder is None:
            return None
        return self._folder / hashlib.sha256(server_id.encode()).hexdigest()[:32]

    def create(self, server_id: str) -> None:
        """Create the heartbeat file of a node.

        Raises:
            OSError: the folder of the database cannot be written.
        """
        if (path := self.path(server_id)) is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_mark())

    def beat(self, server_id: str) -> None:
        """Write a heartbeat in place, so that a full disk does not matter."""
        if (path := self.path(server_id)) is not None:
            try:
                with path.open("r+b", buffering=0) as file:
                    file.write(_mark())
            except OSError:
                with contextlib.suppress(OSError):
                    os.utime(path)

    def mark(self, server_id: str) -> object:
        """Return the last heartbeat of a node, a new value at each heartbeat; ``None`` without a file."""
        if (path := self.path(server_id)) is None:
            return None
        try:
            return path.read_bytes(), path.stat().st_mtime_ns
        except OSError:
            return None

    def remove(self, server_id: str) -> None:
        """Remove the heartbeat file of a node."""
        if (path := self.path(server_id)) is not None:
            with contextlib.suppress(OSError):
                path.unlink()


def _mark() -> bytes:
    return b"%020d" % time.time_ns()


# Stacks of this node's threads, written for the keepalive process while the event loop is blocked.
#
# While the interpreter is free, a thread in this process writes the stacks. While the interpreter is held, no thread in this process can
# run. The keepalive process then sends a signal, and Python's ``faulthandler`` writes the stacks. ``faulthandler`` reads the frames of other
# threads without a lock, which is safe only while no other thread runs. A timer of ``faulthandler`` could go off in a process that was
# stopped and goes on, so no such timer is used.

_SPARE_SIGNALS = 5
"""Distance of the signal from the highest real-time signal."""


class Stacks:
    """Writes the stacks of all threads to a file while the event loop is blocked.

    Args:
        turn: Seconds between two pulses.
        patience: Seconds without a turn of the event loop after which the stacks are written.
        pulse: Called at each pulse, to report that the threads of this process run.
    """

    def __init__(self, turn: float, patience: float, pulse: Callable[[], None]) -> None:
        with tempfile.NamedTemporaryFile(prefix="targcc-stack-", delete=False) as file:
            self.path = Path(file.name)
        self._file = self.path.open("wb", buffering=0)
        self._turn = turn
        self._patience = patience
        self._pulse = pulse
        self._turned = time.monotonic()
        self._written = False
        self._ended = threading.Event()
        self.signal = _free_signal()
        if self.signal:
            faulthandler.register(self.signal, file=self._file, all_threads=True)
        self._thread = threading.Thread(target=self._run, name="targcc-pulse", daemon=True)
        self._thread.start()

    def turned(self) -> None:
        """Record a turn of the event loop and clear the file: the stacks are outdated."""
        self._turned = time.monotonic()
        self._written = False
        if os.fstat(self._file.fileno()).st_size:
            self._file.seek(0)
            self._file.truncate()

    def close(self) -> None:
        """Stop writing and remove the file."""
        self._ended.set()
        if self.signal:
            faulthandler.unregister(self.signal)
        self._thread.join(1)
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _run(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(self._turn):
            now = time.monotonic()
            late, before = now - before, now
            self._pulse()
            # If this thread was late too, the process was stopped or the interpreter held: give the event loop a turn first.
            if late < self._patience / 2 and now - self._turned > self._patience:
                self._write()

    def _write(self) -> None:
        if self._written:
            return
        self._written = True
        me, names = threading.get_ident(), {
            thread.ident: thread.name for thread in threading.enumerate()
        }
        with contextlib.suppress(OSError, ValueError):
            frames = sys._current_frames()  # noqa: SLF001 - documented, in spite of its name
            for ident, frame in frames.items():
                if ident != me:
                    lines = "".join(traceback.format_stack(frame))
                    self._file.write(f"Thread {names.get(ident, ident)}:\n{lines}\n".encode())


def _free_signal() -> int:
    """Return an unused signal; 0 without a free signal, as on Windows.

    With 0, no stack is written while the interpreter is blocked.
    """
    highest = getattr(signal, "SIGRTMAX", None)
    number = int(highest) - _SPARE_SIGNALS if highest is not None else getattr(signal, "SIGUSR2", 0)
    return int(number) if number and signal.getsignal(number) is signal.SIG_DFL else 0


# Start the keepalive process, report turns of the event loop, replace the process when it ends, stop it.

log = logging.getLogger("targcc.node.keepalive")

_PROGRAM = Path(__file__).with_name("keepalive_program.py")
_RESTART_SECONDS = 10.0
_END_SECONDS = 2.0
_SLOWEST_TURN = 1.0


class Keepalive:
    """Runs a process beside this node that sends heartbeats while the node cannot. Use on the scheduler's loop only.

    Args:
        store: The database.
        settings: Intervals.
        files: Heartbeat files beside a SQLite database.
    """

    def __init__(self, store: Store, settings: Settings, files: BeatFiles) -> None:
        self._store = store
        self._settings = settings
        self._files = files
        self._server_id = ""
        self._silence = settings.lost_after_seconds / 4
        self._turn = min(self._silence / 4, settings.heartbeat_seconds, _SLOWEST_TURN)
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = float("-inf")
        self._stacks: Stacks | None = None

    def speak_for(self, server_id: str) -> None:
        """Set the node id for which the keepalive process sends heartbeats."""
        self._server_id = server_id
        if self._process is not None:
            self._write(self._orders())

    async def run(self) -> None:
        """Report each turn of the event loop to the keepalive process, until cancelled. Start the process again if it has ended."""
        if (reason := _unable()) is not None:
            log.warning("a job that holds the interpreter may look dead to other nodes: %s", reason)
            return
        try:
            while True:
                if self._process is None or self._process.poll() is not None:
                    await self._start()
                self._write(b".")
                if self._stacks is not None:
                    self._stacks.turned()
                before = time.monotonic()
                await asyncio.sleep(together(self._turn))
                self._tell_delay(time.monotonic() - before - self._turn)
        finally:
            self._stop()

    async def _start(self) -> None:
        if self._process is not None and self._process.returncode != SPENT:
            log.warning("the keepalive process has ended and is started again")
            wait = self._begun + _RESTART_SECONDS - time.monotonic()
            await asyncio.sleep(max(wait, 0))
        self._begun = time.monotonic()
        if self._stacks is None:
            self._stacks = Stacks(self._silence / 5, self._silence * 0.8, lambda: self._write(b"g"))
        self._process = await asyncio.to_thread(_spawn)
        self._write(self._orders())

    def _orders(self) -> bytes:
        """Return the orders for the keepalive process as JSON; :class:`.keepalive_program.Sitter` describes the keys."""
        store, stacks = self._store, self._stacks
        orders = {
            "server_id": self._server_id,
            "process_id": os.getpid(),
            "silence": self._silence,
            "heartbeat": self._settings.heartbeat_seconds,
            "stuck_after": self._settings.stuck_after_seconds,
            "driver": store.dialect.keepalive_driver,
            "address": store.plain_address,
            "beat_sql": store.dialect.speak_for_sql,
            "running_sql": store.dialect.running_sql,
            "beat_file": str(self._files.path(self._server_id) or ""),
            "stack_file": str(stacks.path) if stacks is not None else "",
            "stack_signal": stacks.signal if stacks is not None else 0,
            "path": sys.path,
        }
        return json.dumps(orders).encode()

    def _write(self, line: bytes) -> None:
        """Write without waiting: a keepalive process that does not read has unread lines already."""
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError):  # the process has ended or does not read
            os.write(self._process.stdin.fileno(), line + b"\n")

    def _tell_delay(self, late: float) -> None:
        if late > self._silence:
            log.warning(
                "the scheduler's loop has not turned for %.1f s: a job held the interpreter, or the process was stopped",
                late,
            )

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._stacks is not None:
            self._stacks.close()
            self._stacks = None


def _unable() -> str | None:
    """Return the reason why no keepalive process can be started; ``None`` if one can."""
    if not _PROGRAM.is_file():
        return f"{_PROGRAM} is not a file of its own"
    if getattr(sys, "frozen", False) or not Path(sys.executable).stem.lower().startswith("py"):
        return f"{sys.executable or 'this program'} is not a Python interpreter"
    return None


def _spawn() -> subprocess.Popen[bytes]:
    with held_back():
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            bufsize=0,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    if os.name != "nt" and process.stdin is not None:
        os.set_blocking(process.stdin.fileno(), False)
    return process
