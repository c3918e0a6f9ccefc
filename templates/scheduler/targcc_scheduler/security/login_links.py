"""Login links: secrets that each sign one browser in, once."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from .digests import digest

LINK_LIFE = timedelta(minutes=10)
"""How long a login link can be used."""
LINK_USER = "login link"
"""The name of a session that a login link began; no user can have it, since names have no blanks."""


class LoginLinks:
    """Secrets in the memory of the serving process that each sign one browser in, once.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()

    def create(self) -> str:
        """A new secret; it works for ten minutes."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._ends[digest(secret)] = self._clock() + LINK_LIFE.total_seconds()
        return secret

    def use(self, secret: str) -> bool:
        """Use up a login link: true the first time, while it is valid."""
        with self._lock:
            end = self._ends.pop(digest(secret), None)
        return end is not None and self._clock() < end


LOGIN_LINKS = LoginLinks()
"""The login links of this process."""
