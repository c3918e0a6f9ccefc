"""Processor time of pieces of work, to compare with another piece's in one run."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_TICK = 0.016
"""Steps of a processor's clock in seconds, at worst (Windows): work is repeated until they no longer count."""


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what the work returns, and the least processor time in seconds that it took in three tries."""
    times = []
    for _ in range(3):
        began, rounds, used = time.process_time(), 0, 0.0
        while used < _TICK:
            result, rounds = work(), rounds + 1
            used = time.process_time() - began
        times.append(used / rounds)
    return result, min(times)
