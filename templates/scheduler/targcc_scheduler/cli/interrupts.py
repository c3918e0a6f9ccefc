"""Handle Ctrl-C and SIGTERM: the first lets running jobs end, the second hands their runs back at once, the third kills the process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType

NAMES = ("SIGTERM", "SIGINT", "SIGBREAK")
HANDS_BACK = "Stopping  now: running jobs are handed back; Ctrl-C kills"
_ONE_PRESS_SECONDS = 0.3
"""Signals within this time count as a single signal: a terminal sends Ctrl-C to a process and to its parent, which may forward the signal."""


class Interrupts:
    """Count stop signals and run the step for each.

    Args:
        stop: First signal: claim no more runs, and stop when running jobs have ended or their grace is over.
        hurry: Second signal: hand runs back at once.
    """

    def __init__(self, stop: Callable[[], None], hurry: Callable[[], None]) -> None:
        self._steps = [stop, hurry]
        self._last = float("-inf")

    def install(self) -> None:
        """Install the signal handlers. Call in the main thread."""
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, self.told)

    def told(self, number: int, _frame: FrameType | None = None) -> None:
        """Run the next step; the third signal exits the process."""
        now = time.monotonic()
        if now - self._last < _ONE_PRESS_SECONDS:
            return
        self._last = now
        if self._steps:
            self._steps.pop(0)()
        else:
            os._exit(128 + number)  # the status that shells report for a process ended by a signal
