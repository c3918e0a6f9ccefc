"""Processor time and memory of one attempt that has a process to itself."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Usage:
    """What was used before; the methods say how much more it is now.

    Args:
        cpu: Seconds of processor time of the process and of the processes it has waited for.
        resident: Bytes of resident memory.
    """

    cpu: float
    resident: int

    @classmethod
    def begin(cls) -> Usage:
        """Measure from now on."""
        with contextlib.suppress(OSError):  # Linux: the peak starts anew
            _CLEAR_REFS.write_text("5", encoding="ascii")
        return cls(_cpu(), psutil.Process().memory_info().rss)

    def cpu_ms(self) -> int:
        """Processor time since, in milliseconds: of all threads, and of child processes that have ended."""
        return round((_cpu() - self.cpu) * 1000)

    def memory_mb(self) -> int:
        """By how much the resident memory grew at its peak (where the system tells it, else now), in MiB; 0 when it shrank."""
        peak = _peak() or psutil.Process().memory_info().rss
        return max(peak - self.resident, 0) // 2**20


def _cpu() -> float:
    times = psutil.Process().cpu_times()
    children = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return time.process_time() + children


def _peak() -> int | None:
    try:
        text = _STATUS.read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
