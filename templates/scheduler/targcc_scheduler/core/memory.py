"""Measure and reduce the memory of a process that runs for weeks."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .processes import resident_bytes

if TYPE_CHECKING:  # the module takes a tenth of the start of a command that is sent to a server
    from importlib.abc import Loader

_FRESH_SECONDS = 0.005
_ASYNCIO = "sqlalchemy.ext.asyncio"
_WITHOUT_ORM = ("AsyncConnection", "AsyncEngine", "AsyncTransaction", "create_async_engine")


class ResidentMemory:
    """The resident memory of this process. Cached for 5 ms, because a query of the system takes longer than a short job."""

    def __init__(self) -> None:
        self._asked_at = float("-inf")
        self._size = 0

    def size(self) -> int:
        """Return the resident memory in bytes."""
        now = time.monotonic()
        if now - self._asked_at > _FRESH_SECONDS:
            self._size = resident_bytes()
            self._asked_at = now
        return self._size


def trim_after_start() -> None:
    """Exempt what start-up has created from later garbage collections, and return what start-up has freed to the system.

    The garbage collector stops all threads, and with thousands of jobs it would look through their definitions for a tenth of a second
    every few pages. Memory is returned with glibc only, whose heap does not shrink by itself. Call this function once, and only in the
    scheduler's own processes.
    """
    gc.collect()
    gc.freeze()
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):  # musl has no such function
            ctypes.CDLL(None).malloc_trim(0)


def leave_orm_until_asked() -> None:
    """Delay the import of SQLAlchemy's ORM until first use; saves 7 MiB and 0.1 s, as the scheduler needs no ORM.

    ``sqlalchemy.ext.asyncio`` imports the ORM for its sessions. After this call the package is imported with connections and engines only;
    the first access to any other name, such as ``AsyncSession``, loads the whole package. Call this function only in the scheduler's own
    processes, as imports of a host application are not the scheduler's to change.
    """
    if _ASYNCIO not in sys.modules and not any(
        isinstance(finder, _Finder) for finder in sys.meta_path
    ):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Find ``sqlalchemy.ext.asyncio`` and give it a loader that delays its sessions."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _ASYNCIO:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _WithoutSessions(spec.loader)  # type: ignore[assignment]  # what importlib calls
        return spec


class _WithoutSessions:
    """Load the parts of the package that need no ORM.

    Args:
        whole: The loader of the whole package.
    """

    def __init__(self, whole: Loader) -> None:
        self.whole = whole

    def create_module(self, spec: ModuleSpec) -> None:
        """Return ``None``: the import system creates the module."""
        del spec

    def exec_module(self, module: ModuleType) -> None:
        """Set connections and engines on the package; load the rest at the first access."""
        engine = import_module(f"{_ASYNCIO}.engine")
        for name in _WITHOUT_ORM:
            setattr(module, name, getattr(engine, name))

        lock, begun = RLock(), False

        def missing(name: str) -> Any:
            nonlocal begun
            with lock:
                if not begun:
                    begun = True
                    try:
                        self.whole.exec_module(module)
                    except BaseException:
                        begun = False  # the next access raises the error again
                        raise
                    del vars(module)["__getattr__"]
            if name in vars(module):
                return vars(module)[name]
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        vars(module)["__getattr__"] = missing  # a module's ``__getattr__``: PEP 562
