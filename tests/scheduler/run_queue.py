"""Measure a response without the time for which the machine was busy with something else."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Measured:
    """Milliseconds of a piece of work.

    Attributes:
        elapsed: On the clock.
        processor: Processor time of this process.
        own: Elapsed, without the time for which threads of the processes waited for a core. Not less than ``processor``.
            The same as ``elapsed`` where the kernel does not tell.
    """

    elapsed: float = 0
    processor: float = 0
    own: float = 0


@contextmanager
def measured(others: Collection[int] = ()) -> Iterator[Measured]:
    """Measure the body of a ``with`` statement.

    Args:
        others: Ids of processes that work for this one, as a server of PostgreSQL does for a connection.
    """
    result = Measured()
    began, used, waited = time.perf_counter(), time.process_time(), _waited(others)
    yield result
    result.elapsed = (time.perf_counter() - began) * 1000
    result.processor = (time.process_time() - used) * 1000
    waits = max(0.0, _waited(others) - waited)
    result.own = max(result.elapsed - waits, result.processor)


def _waited(others: Collection[int]) -> float:
    """Return for how many milliseconds all threads were ready to run without a core; 0 without ``/proc``."""
    total = 0
    for process in ("self", *others):
        for file in Path(f"/proc/{process}/task").glob("*/schedstat"):
            with suppress(OSError, IndexError, ValueError):  # the thread has ended
                total += int(file.read_text(encoding="ascii").split()[1])
    return total / 1e6
