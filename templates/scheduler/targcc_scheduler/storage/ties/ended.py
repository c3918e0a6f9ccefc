"""Runs ended, or let go of their workers: what that means for the runs that hang on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ..runs.transition import is_in_state
from ..runs.values import Settlement
from . import expiry, links
from .consequences import Consequences
from .flows import advance as flows

Room: TypeAlias = Callable[
    [AsyncConnection, Sequence[Settlement], datetime], Awaitable[Consequences]
]
_ROOMS: Sequence[Room] = (links.ended, flows.ended)
"""Who has to hear of settlements; each looks at ``Settlement.ties`` first."""
Sweep: TypeAlias = Callable[[AsyncConnection, datetime], Awaitable[Consequences]]
_ANY_WAITS = sa.select(sa.exists().where(is_in_state(RunState.AWAITING)))
_SWEEPS: Sequence[Sweep] = (expiry.sweep, links.sweep, flows.sweep)


async def any_waits(connection: AsyncConnection, now: datetime) -> bool:
    """Whether there may be something for :func:`sweep`: a run waits for others or for room, or its time is over, or a flow goes on."""
    return (
        bool(await connection.scalar(_ANY_WAITS))
        or await expiry.any_expired(connection, now)
        or await flows.any_goes_on(connection)
    )


async def sweep(connection: AsyncConnection, now: datetime) -> Consequences:
    """Some of what nobody has heard of: runs expire, and nodes of an earlier release, which know nothing of ties, end and remove runs."""
    found = [await one(connection, now) for one in _SWEEPS]
    return Consequences(
        ready=[one for each in found for one in each.ready],
        settled=[one for each in found for one in each.settled],
    )


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
