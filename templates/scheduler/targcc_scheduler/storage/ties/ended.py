"""Runs ended, or let go of their workers: what that means for the runs that hang on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ..runs.transition import is_in_state
from ..runs.values import Settlement
from . import expiry, limits, links
from .batches import ended as batches
from .consequences import Consequences, together
from .flows import advance as flows
from .keys import waiting as keys

Room: TypeAlias = Callable[
    [AsyncConnection, Sequence[Settlement], datetime], Awaitable[Consequences]
]
_ROOMS: Sequence[Room] = (links.ended, batches.ended, flows.ended, limits.ended, keys.ended)
"""Who has to hear of settlements; each looks at ``Settlement.ties`` first."""
Sweep: TypeAlias = Callable[[AsyncConnection, datetime], Awaitable[Consequences]]
_REMOVALS = (links.removed, batches.removed, flows.removed, limits.removed, keys.removed)
_ANY_WAITS = sa.select(sa.exists().where(is_in_state(RunState.AWAITING)))
_SWEEPS: Sequence[Sweep] = (expiry.sweep, links.sweep, batches.sweep, flows.sweep, keys.sweep)


async def any_waits(connection: AsyncConnection, now: datetime) -> bool:
    """Whether there may be something for :func:`sweep`: a run waits for others or for room, or its time is over, or a batch or flow goes on."""
    return (
        bool(await connection.scalar(_ANY_WAITS))
        or await expiry.any_expired(connection, now)
        or await batches.any_goes_on(connection)
        or await flows.any_goes_on(connection)
    )


async def sweep(connection: AsyncConnection, now: datetime) -> Consequences:
    """Some of what nobody has heard of: runs expire, and nodes of an earlier release, which know nothing of ties, end and remove runs."""
    found = [await one(connection, now) for one in _SWEEPS]
    return together(found)


async def removed(connection: AsyncConnection, rows: Sequence[Any], now: datetime) -> Consequences:
    """What it means for others that a person has removed runs; ``rows`` are theirs, as they were."""
    tied = [row for row in rows if row.Ties]
    if not tied:
        return Consequences()
    found = [await one(connection, tied, now) for one in _REMOVALS]
    return together(found)


async def ended(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Consequences:
    """What settlements mean for others, in the transaction that wrote them; runs without ties cost nothing."""
    tied = [item for item in settled if item.ties]
    if not tied:
        return Consequences()
    found = [await room(connection, tied, now) for room in _ROOMS]
    return together(found)
