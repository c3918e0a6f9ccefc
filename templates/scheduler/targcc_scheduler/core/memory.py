"""The memory of a process that is about to run for weeks."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes a megabyte, and an idle worker has no need of it
    import psutil

_FRESH_SECONDS = 0.005


class ResidentMemory:
    """How much memory this process has in use; the system is asked at most every few milliseconds, as that takes longer than a short job."""

    def __init__(self) -> None:
        self._asked_at = float("-inf")
        self._size = 0

    def size(self) -> int:
        """Bytes."""
        now = time.monotonic()
        if now - self._asked_at > _FRESH_SECONDS:
            self._size = int(self._process.memory_info().rss)
            self._asked_at = now
        return self._size

    @cached_property
    def _process(self) -> psutil.Process:
        import psutil

        return psutil.Process()


def give_back() -> None:
    """Give what start-up used and freed back to the system: some MiB with glibc, whose heap does not shrink by itself.

    Returns at once where there is another C library.
    """
    gc.collect()
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):  # musl has no such function
            ctypes.CDLL(None).malloc_trim(0)
