"""Limits on guessing passwords."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Failures:
    count: int
    free_at: float


class AttemptLimiter:
    """Slows guessing down: after some failures each further one doubles the wait.

    Args:
        free: How many failures cost no waiting.
        longest: The longest wait in seconds; failures older than twice that are forgotten.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self, free: int, longest: float = 900, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = free
        self._longest = longest
        self._clock = clock
        self._failures: dict[str, _Failures] = {}
        self._lock = threading.Lock()

    def wait(self, key: str) -> float:
        """Seconds until ``key`` may try again; 0 when it may now."""
        with self._lock:
            known = self._failures.get(key)
            return 0 if known is None else max(0.0, known.free_at - self._clock())

    def failed(self, key: str) -> None:
        """Count a failure."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            count = self._failures[key].count + 1 if key in self._failures else 1
            over = count - self._free
            pause = min(2.0 ** min(over, 20), self._longest) if over > 0 else 0.0
            self._failures[key] = _Failures(count, now + pause)

    def forget(self, key: str) -> None:
        """Forget the failures of ``key``."""
        with self._lock:
            self._failures.pop(key, None)

    def forgive(self, key: str) -> None:
        """Count one failure less."""
        with self._lock:
            if key in self._failures:
                self._failures[key].count -= 1

    def _forget(self, now: float) -> None:
        old = [
            key for key, known in self._failures.items() if now - known.free_at > 2 * self._longest
        ]
        for key in old:
            del self._failures[key]


class LoginGuard:
    """Limits sign-in attempts: for each name at each address, and for each address as a whole.

    An attempt counts as a failure from its beginning, so that a hundred at once are limited too; success takes that back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pairs = AttemptLimiter(free=5, clock=clock)
        self._addresses = AttemptLimiter(free=30, clock=clock)

    def wait(self, name: str, address: str) -> float:
        """Seconds until this name may be tried from this address; 0 when it may now."""
        return max(self._pairs.wait(_pair(name, address)), self._addresses.wait(address))

    def begin(self, name: str, address: str) -> None:
        """Count an attempt."""
        self._pairs.failed(_pair(name, address))
        self._addresses.failed(address)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of this name at this address."""
        self._pairs.forget(_pair(name, address))
        self._addresses.forgive(address)


def _pair(name: str, address: str) -> str:
    return f"{name.strip().lower()}\n{address}"
