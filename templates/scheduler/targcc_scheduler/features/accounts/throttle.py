"""Limits on guessing passwords: each further failure waits longer, and nobody can lock somebody else out."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_MOST_KEYS = 50_000
"""Names and addresses that are remembered, so that inventing some fills no memory."""


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


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
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str, free: int | None = None) -> float:
        """Seconds until ``key`` may try again; 0 when it may now.

        Args:
            key: Who tries.
            free: How many failures cost no waiting this time.
        """
        with self._lock:
            known = self._failures.get(key)
            if known is None:
                return 0.0
            over = known.count - (self._free if free is None else free)
            pause = min(2.0 ** min(over, 20), self._longest) if over > 0 else 0.0
            return max(0.0, known.last + pause - self._clock())

    def count(self, key: str) -> int:
        """How many failures of ``key`` are remembered."""
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
        """Count one failure less."""
        with self._lock:
            if key in self._failures:
                self._failures[key].count -= 1

    def _forget(self, now: float) -> None:
        """The one that failed the longest ago stands first."""
        while self._failures:
            key, oldest = next(iter(self._failures.items()))
            if now - oldest.last <= 2 * self._longest:
                return
            del self._failures[key]


class Seldom:
    """Lets something be said about a key once a minute.

    Args:
        seconds: How long it was enough to have said it.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, seconds: float = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._said: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def is_new(self, key: str) -> bool:
        """Whether it was not said lately; it is, then."""
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

    * A name at an address has five failures free; then each waits twice as long as the one before.
    * A name that fails from everywhere has one failure free at each address; at an address from which many names fail, so has each name.
      The first try of a name at an address comes through all the same, so that no guesser keeps the real person out.
    * At an address from which more than fifty names were tried, a name that is new there waits, too; up to half a minute.
    * A browser that this user has signed in with before is counted by itself, whatever others do.

    An attempt counts as a failure from its beginning, so that a hundred at once are limited too; success takes that back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pairs = AttemptLimiter(free=5, clock=clock)
        self._names = AttemptLimiter(free=_HOT, clock=clock)
        self._addresses = AttemptLimiter(free=_HOT, clock=clock)
        self._strange = AttemptLimiter(free=_MOST_NAMES, longest=30, clock=clock)
        self._devices = AttemptLimiter(free=5, clock=clock)

    def wait(self, name: str, address: str, device: str | None = None) -> float:
        """Seconds until this name may be tried from this address; 0 when it may now.

        Args:
            name: What was typed.
            address: Where from.
            device: The mark of a browser that this user has signed in with before.
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
        """Count an attempt."""
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
        """Forget the failures of this name at this address."""
        if device is not None:
            return self._devices.forget(device)
        name, address = _same(name), network_of(address)
        self._pairs.forget(f"{name}\n{address}")
        self._names.forgive(name)
        self._strange.forgive(address)
        return self._addresses.forgive(address)


_HOT = 20
"""Failures of one name, or at one address, that are more than people's own mistakes."""
_MOST_NAMES = 50
_LONGEST_NAME = 64


def _same(name: str) -> str:
    return name.strip().lower()[:_LONGEST_NAME]


def network_of(address: str) -> str:
    """Who has one address of IPv6 has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
