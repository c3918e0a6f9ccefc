"""What Ctrl-C and SIGTERM do: the first lets running jobs end, the second hands their runs back at once, the third kills."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType

NAMES = ("SIGTERM", "SIGINT", "SIGBREAK")
HANDS_BACK = "Stopping  now: running jobs are handed back; Ctrl-C kills"
_ONE_PRESS_SECONDS = 0.3
"""Signals so close together are one: a terminal sends Ctrl-C to a process and to the one that started it, which may send it on."""


class Interrupts:
    """Counts how often the process was told to stop.

    Args:
        stop: The first time: take nothing new, and stop when running jobs have ended or their grace is over.
        hurry: The second time: hand runs back at once.
    """

    def __init__(self, stop: Callable[[], None], hurry: Callable[[], None]) -> None:
        self._steps = [stop, hurry]
        self._last = float("-inf")

    def install(self) -> None:
        """Be told of signals; in the main thread."""
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, self.told)

    def told(self, number: int, _frame: FrameType | None = None) -> None:
        """A signal has come."""
        now = time.monotonic()
        if now - self._last < _ONE_PRESS_SECONDS:
            return
        self._last = now
        if self._steps:
            self._steps.pop(0)()
        else:
            os._exit(128 + number)  # as a shell has it for a process that a signal ended
