"""Results of queries over long ranges, which the requests of some seconds share: pages reload every few seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import visibility

T = TypeVar("T")

LARGE = 50_000
"""Number of counted runs above which requests share a result."""
SHARED_FOR = timedelta(seconds=10)
"""How long requests share it."""


@dataclass(frozen=True, slots=True)
class _Result(Generic[T]):
    key: Hashable
    at: datetime
    value: T


class Shared(Generic[T]):
    """The last result of a query, for each database. A reader who may not see all jobs shares nothing.

    Args:
        size: Return how many runs a result counts; only a result with more than :data:`LARGE` runs is shared.
    """

    def __init__(self, size: Callable[[T], int]) -> None:
        self._size = size
        self._results: WeakKeyDictionary[sa.Engine, _Result[T]] = WeakKeyDictionary()

    async def get(
        self,
        connection: AsyncConnection,
        key: Hashable,
        now: datetime,
        read: Callable[[], Awaitable[T]],
    ) -> T:
        """Return the result of ``read``, or a result for the same key that is at most :data:`SHARED_FOR` old."""
        if visibility.get() is not None:
            return await read()
        engine = connection.sync_engine
        kept = self._results.get(engine)
        if kept is not None and kept.key == key and kept.at <= now < kept.at + SHARED_FOR:
            return kept.value
        value = await read()
        if self._size(value) > LARGE:
            self._results[engine] = _Result(key, now, value)
        return value
