"""What the threads of this node are doing, written down for the keepalive process when the node's loop does not turn.

Where the interpreter is free, a thread of its own writes it. Where it is held, nobody in this process can run, so the keepalive process
sends a signal, and Python's ``faulthandler`` answers it. That one reads the frames of other threads as they stand, which is safe only
while none of them runs: it must not go off in a process that was merely stopped and goes on, so no timer of its own is used.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

_SPARE_SIGNALS = 5
"""So far below the highest real-time signal is ours."""


class Stacks:
    """The file of stacks, and who writes it.

    Args:
        turn: Seconds between two pulses.
        patience: Seconds without a turn of the loop after which the stacks are written.
        pulse: Called at each pulse; says that this process's threads run.
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
        """The loop turns: what was written is out of date."""
        self._turned = time.monotonic()
        self._written = False
        if os.fstat(self._file.fileno()).st_size:
            self._file.seek(0)
            self._file.truncate()

    def close(self) -> None:
        """Write no more, and remove the file."""
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
            # Where this thread was late too, the process was stopped or the interpreter held: the loop shall have its turn first.
            if late < self._patience / 2 and now - self._turned > self._patience:
                self._write()

    def _write(self) -> None:
        if self._written:
            return
        self._written = True
        me, names = threading.get_ident(), {one.ident: one.name for one in threading.enumerate()}
        with contextlib.suppress(OSError, ValueError):
            frames = sys._current_frames()  # noqa: SLF001 - documented, in spite of its name
            for ident, frame in frames.items():
                if ident != me:
                    lines = "".join(traceback.format_stack(frame))
                    self._file.write(f"Thread {names.get(ident, ident)}:\n{lines}\n".encode())


def _free_signal() -> int:
    """A signal that nothing in this process uses; 0 where there is none, as on Windows: then no stack is known while the interpreter is held."""
    highest = getattr(signal, "SIGRTMAX", None)
    number = int(highest) - _SPARE_SIGNALS if highest is not None else getattr(signal, "SIGUSR2", 0)
    return int(number) if number and signal.getsignal(number) is signal.SIG_DFL else 0
