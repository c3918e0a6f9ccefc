"""Runs ended, or let go of their workers: what that means for the runs that hang on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from ..runs.values import Settlement
from . import limits
from .consequences import Consequences

Room: TypeAlias = Callable[
    [AsyncConnection, Sequence[Settlement], datetime], Awaitable[Consequences]
]
_ROOMS: Sequence[Room] = (limits.ended,)
"""Who has to hear of settlements; each looks at ``Settlement.ties`` first."""


async def ended(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Consequences:
    """What settlements mean for others, in the transaction that wrote them; runs without ties cost nothing."""
    tied = [item for item in settled if item.ties]
    if not tied:
        return Consequences()
    found = [await room(connection, tied, now) for room in _ROOMS]
    return Consequences(
        ready=[one for each in found for one in each.ready],
        settled=[one for each in found for one in each.settled],
    )
