"""How many streams of events may be open, so that they do not take the connections of pages."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from ...security.roles import Principal
from ..problems import Problem

MOST_EACH = 4
"""Streams of one person or program. A browser has six connections to a site: two are left for pages."""
MOST = 100
"""Streams of one process."""


class StreamLimits:
    """Counts the open streams of a process.

    Args:
        most: So many altogether.
        most_each: So many of one person or program.
    """

    def __init__(self, most: int = MOST, most_each: int = MOST_EACH) -> None:
        self._most = most
        self._most_each = most_each
        self._open: Counter[str] = Counter()

    def check(self, principal: Principal) -> None:
        """See that there is room for one more.

        Raises:
            Problem: there is none.
        """
        mine = self._open[principal.name] >= self._most_each
        if mine or self._open.total() >= self._most:
            whose = f"{principal.name} has" if mine else "there are"
            limit = self._most_each if mine else self._most
            raise Problem(
                429,
                "Too many streams",
                f"{whose} {limit} open streams of events: close one, or ask now and then",
                headers={"Retry-After": "30"},
            )

    @contextlib.contextmanager
    def one(self, principal: Principal) -> Iterator[None]:
        """Count a stream while it is open."""
        self._open[principal.name] += 1
        try:
            yield
        finally:
            self._open[principal.name] -= 1
            if not self._open[principal.name]:
                del self._open[principal.name]
