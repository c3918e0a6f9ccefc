"""The keepalive process, seen from its node: started, told that the loop turns, replaced when it is gone, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from ...core.clock import together
from ...core.stop_signals import held_back
from ...settings import Settings
from ...storage.transactions import Store
from .files import BeatFiles
from .program import SPENT
from .stacks import Stacks

log = logging.getLogger("targcc.node.keepalive")

_PROGRAM = Path(__file__).with_name("program.py")
_RESTART_SECONDS = 10.0
_END_SECONDS = 2.0
_SLOWEST_TURN = 1.0


class Keepalive:
    """Has a process beside this one beat for the node while it cannot. For use on the scheduler's loop.

    Args:
        store: The database.
        settings: Intervals.
        files: Where the nodes of a SQLite file beat.
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
        """The node is called so from now on."""
        self._server_id = server_id
        if self._process is not None:
            self._write(self._orders())

    async def run(self) -> None:
        """Say that the loop turns, until cancelled."""
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
        """What the process is told; ``program.py`` says what each means."""
        store, stacks = self._store, self._stacks
        orders = {
            "server_id": self._server_id,
            "process_id": os.getpid(),
            "silence": self._silence,
            "heartbeat": self._settings.heartbeat_seconds,
            "stuck_after": self._settings.stuck_after_seconds,
            "driver": store.dialect.name,
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
        """Does not wait: a process that does not read has much to read already."""
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError):  # it is gone, which the next turn sees, or does not read
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
    """Why no keepalive process can be started."""
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
