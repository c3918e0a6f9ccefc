"""``httpx`` for commands, without the modules that a command does not need.

The command line of ``httpx`` imports ``rich`` and ``pygments``, half of the time of the import. ``httpcore`` imports ``trio`` where that is
installed; commands run on ``asyncio``. Import this module only in the scheduler's own processes.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def absent(*names: str) -> Iterator[None]:
    """Let imports of these modules fail meanwhile, as if the modules were not installed. Modules that are imported already stay."""
    blocked = [name for name in names if name not in sys.modules]
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment]  # the import system's mark of an absent module
    try:
        yield
    finally:
        for name in blocked:
            del sys.modules[name]


with absent("httpx._main", "trio"):
    import httpx

__all__ = ["absent", "httpx"]
