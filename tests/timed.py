"""Processor time of pieces of work, to compare with another piece's in one run."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T], tries: int = 3) -> tuple[T, float]:
    """Return what the work returns, and the least processor time in seconds that this thread spent on it in a number of tries."""
    times = []
    for _ in range(tries):
        began = time.thread_time()
        result = work()
        times.append(time.thread_time() - began)
    return result, min(times)
