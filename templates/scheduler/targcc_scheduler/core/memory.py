"""The memory of a process that is about to run for weeks."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

_FRESH_SECONDS = 0.005
_ASYNCIO = "sqlalchemy.ext.asyncio"
_WITHOUT_ORM = ("AsyncConnection", "AsyncEngine", "AsyncTransaction", "create_async_engine")


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


def leave_orm_until_asked() -> None:
    """Import SQLAlchemy's ORM in this process when somebody asks for it: 7 MiB and a tenth of a second that the scheduler has no need of.

    ``sqlalchemy.ext.asyncio`` imports it for its sessions. From now on it has connections and engines at first, and becomes all that it is with
    the first other name that it is asked for, such as ``AsyncSession``. For processes of our own: an application's imports are its own business.
    """
    if _ASYNCIO not in sys.modules and not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds ``sqlalchemy.ext.asyncio``, and gives it a loader that puts off its sessions."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _ASYNCIO:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _WithoutSessions(spec.loader)
        return spec


class _WithoutSessions(Loader):
    """Loads of the package what needs no ORM.

    Args:
        whole: The loader of the whole package.
    """

    def __init__(self, whole: Loader) -> None:
        self.whole = whole

    def exec_module(self, module: ModuleType) -> None:
        """Fill the package with connections and engines, and let it ask for the rest."""
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
                        begun = False  # whoever asks next hears why, too
                        raise
                    del vars(module)["__getattr__"]
            if name in vars(module):
                return vars(module)[name]
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        vars(module)["__getattr__"] = missing  # as PEP 562 has it
