"""Rate limits for sign-in attempts: the wait doubles with each failure, and nobody can lock another person out."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_MOST_KEYS = 50_000
"""Maximum number of keys in memory, so that invented names and addresses cannot fill the memory."""


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class AttemptLimiter:
    """Slow guessing down: after the free failures, each further failure doubles the wait.

    Args:
        free: Number of failures without a wait.
        longest: The longest wait in seconds; failures older than twice this time are forgotten.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self, free: int, longest: float = 900, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = free
        self._longest = longest
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str, free: int | None = None) -> float:
        """Return the seconds until ``key`` may try again; 0 means now.

        Args:
            key: The key of the attempt, such as a name or an address.
            free: Number of failures without a wait; ``None`` uses the limiter's number.
        """
        with self._lock:
            known = self._failures.get(key)
            if known is None:
                return 0.0
            over = known.count - (self._free if free is None else free)
            pause = min(2.0 ** min(over, 20), self._longest) if over > 0 else 0.0
            return max(0.0, known.last + pause - self._clock())

    def count(self, key: str) -> int:
        """Return the number of remembered failures of ``key``."""
        with self._lock:
            self._forget(self._clock())
            known = self._failures.get(key)
            return known.count if known is not None else 0

    def failed(self, key: str) -> None:
        """Count a failure."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            known = self._failures.pop(key, None)
            self._failures[key] = _Failures(known.count + 1 if known is not None else 1, now)
            while len(self._failures) > _MOST_KEYS:
                self._failures.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forget the failures of ``key``."""
        with self._lock:
            self._failures.pop(key, None)

    def forgive(self, key: str) -> None:
        """Subtract one failure of ``key``."""
        with self._lock:
            if key in self._failures:
                self._failures[key].count -= 1

    def _forget(self, now: float) -> None:
        """Remove keys whose last failure is too old; the oldest failure is first in the dictionary."""
        while self._failures:
            key, oldest = next(iter(self._failures.items()))
            if now - oldest.last <= 2 * self._longest:
                return
            del self._failures[key]


class Seldom:
    """Limit messages to one per key and interval, by default a minute.

    Args:
        seconds: The interval.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, seconds: float = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._said: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def is_new(self, key: str) -> bool:
        """Return true, and start a new interval, when the key's last interval is over; else return false."""
        now = self._clock()
        with self._lock:
            if key in self._said and now - self._said[key] < self._seconds:
                return False
            self._said.pop(key, None)
            self._said[key] = now
            while len(self._said) > _MOST_KEYS:
                self._said.popitem(last=False)
            return True


class LoginGuard:
    """Limits sign-in attempts, by name and address, by name, and by address.

    * A name at an address has five free failures; then the wait doubles with each failure.
    * After 20 failures of a name, or at an address, the name has no free failures at that address. The first attempt of a name at an
      address does not wait for these limits, so that a guesser cannot keep the real person out.
    * After more than fifty names at one address, a name that is new at the address waits, too; up to half a minute.
    * A known device of the user is counted separately; attempts from elsewhere do not affect the device.

    Each attempt counts as a failure from the start, so that concurrent attempts are limited, too. Success subtracts that failure.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pairs = AttemptLimiter(free=5, clock=clock)
        self._names = AttemptLimiter(free=_HOT, clock=clock)
        self._addresses = AttemptLimiter(free=_HOT, clock=clock)
        self._strange = AttemptLimiter(free=_MOST_NAMES, longest=30, clock=clock)
        self._devices = AttemptLimiter(free=5, clock=clock)

    def wait(self, name: str, address: str, device: str | None = None) -> float:
        """Return the seconds until this name may be tried from this address; 0 means now.

        Args:
            name: The typed name.
            address: The client address.
            device: The mark of the user's known device; ``None`` for an unknown browser.
        """
        if device is not None:
            return self._devices.wait(device)
        name, address = _same(name), network_of(address)
        pair = f"{name}\n{address}"
        if self._pairs.count(pair) == 0:
            return self._strange.wait(address)
        hot = self._names.count(name) >= _HOT or self._addresses.count(address) >= _HOT
        return self._pairs.wait(pair, free=0 if hot else None)

    def begin(self, name: str, address: str, device: str | None = None) -> None:
        """Count an attempt as a failure."""
        if device is not None:
            return self._devices.failed(device)
        name, address = _same(name), network_of(address)
        pair = f"{name}\n{address}"
        if self._pairs.count(pair) == 0:
            self._strange.failed(address)
        self._pairs.failed(pair)
        self._names.failed(name)
        return self._addresses.failed(address)

    def succeeded(self, name: str, address: str, device: str | None = None) -> None:
        """Forget the failures of this name at this address, and subtract one failure from the name and from the address."""
        if device is not None:
            return self._devices.forget(device)
        name, address = _same(name), network_of(address)
        self._pairs.forget(f"{name}\n{address}")
        self._names.forgive(name)
        self._strange.forgive(address)
        return self._addresses.forgive(address)


_HOT = 20
"""Number of failures of one name, or at one address, that indicates guessing."""
_MOST_NAMES = 50
_LONGEST_NAME = 64


def _same(name: str) -> str:
    return name.strip().lower()[:_LONGEST_NAME]


def network_of(address: str) -> str:
    """Return the /64 network of an IPv6 address, since one client has 2^64 addresses; return other addresses unchanged."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
