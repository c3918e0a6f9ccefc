"""When the next slot of each job comes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime


class Agenda:
    """The next slot of each job; ``None`` for one that has none to come.

    Which comes first is kept, so that an idle node with thousands of jobs compares two instants a second, and not all of them.
    """

    def __init__(self) -> None:
        self._next: dict[str, datetime | None] = {}
        self._first: datetime | None = None
        self._is_known = True

    def __contains__(self, name: str) -> bool:
        return name in self._next

    def put(self, name: str, at: datetime | None) -> None:
        """The next slot of a job is then."""
        self._next[name] = at
        self._is_known = False

    def keep(self, names: Collection[str]) -> None:
        """Forget all other jobs."""
        for name in self._next.keys() - names:
            del self._next[name]
            self._is_known = False

    def first(self) -> datetime | None:
        """When the first of all comes."""
        if not self._is_known:
            self._first = min((at for at in self._next.values() if at is not None), default=None)
            self._is_known = True
        return self._first

    def due(self, now: datetime) -> list[str]:
        """The jobs whose slot has come."""
        first = self.first()
        if first is None or first > now:
            return []
        return [name for name, at in self._next.items() if at is not None and at <= now]
