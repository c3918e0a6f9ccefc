"""After runs settle: tell dependents, batches and flows; cancel runs whose time is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import UNBEGUN, RunState
from ..db.columns import UtcDateTime
from ..db.dialects.frequent import FrequentStatement, is_among, listed
from ..db.tables import job_run
from ..features.batches import effects as batch_effects
from ..features.flows import effects as flow_effects
from . import deferred_keys, dependencies, limits
from .effects import Effects, together
from .runs.claim import Row, claim_of
from .runs.settle import settle
from .runs.transition import is_in_state
from .runs.values import Settlement, Tie

# Expiry: a run that has not begun when its time is over is cancelled instead of starting late.
#
# No claim hands it out after that. A claim that meets it ends it; for those that none meets there is a sweep. A run that waits for others is
# not due yet, so that it does not expire: see ``links.py``, which lets it go. One that waits for its unique key, or for room under a limit, does.

_MOST = 500
"""Runs that are ended at a time."""

_c = job_run.c
_IS_EXPIRED = sa.and_(
    _c.ExpiresAt.is_not(None),
    _c.CompletedAt.is_(None),
    _c.ExpiresAt <= sa.bindparam("now", type_=UtcDateTime),
    is_in_state(*sorted(UNBEGUN)),
    sa.or_(
        _c.State != RunState.AWAITING, _c.Ties.op("&")(sa.literal_column(str(int(Tie.ASKS)))) != 0
    ),
    _c.Attempt == 0,
)
_THERE_ARE_SOME = FrequentStatement(sa.select(sa.exists().where(_IS_EXPIRED).label("some")))
_EXPIRED = sa.select(job_run).where(_IS_EXPIRED).with_for_update(skip_locked=True)


async def any_expired(connection: AsyncConnection, now: datetime) -> bool:
    """Whether there are runs to be ended."""
    (found,) = await _THERE_ARE_SOME.all(connection, {"now": now})
    return bool(found.some)


async def sweep_expired(connection: AsyncConnection, now: datetime) -> Effects:
    """End some of the runs whose time is over, the oldest first."""
    query = _EXPIRED.order_by(_c.ExpiresAt, _c.Id).limit(_MOST)
    rows = (await connection.execute(query, {"now": now})).all()
    return Effects(settled=await settle(connection, [_end(row) for row in rows], now))


async def end(
    connection: AsyncConnection, run_ids: Sequence[int], now: datetime
) -> list[Settlement]:
    """End those of the runs whose time is over."""
    if not run_ids:
        return []
    query = _EXPIRED.where(is_among(_c.Id, listed("ids", sa.BigInteger))).order_by(_c.Id)
    rows = (await connection.execute(query, {"now": now, "ids": run_ids})).all()
    return await settle(connection, [_end(row) for row in rows], now)


def _end(row: Row) -> Settlement:
    note = f"expired: it was to start before {row.ExpiresAt.isoformat(timespec='seconds')}"
    return Settlement(
        claim=claim_of(row, {}),
        source=RunState(row.State),
        state=RunState.CANCELLED,
        note=note,
        message=note,
    )


# Runs ended, or let go of their workers: what that means for the runs that hang on them.

Room: TypeAlias = Callable[[AsyncConnection, Sequence[Settlement], datetime], Awaitable[Effects]]
_ROOMS: Sequence[Room] = (
    dependencies.on_settled,
    batch_effects.on_settled,
    flow_effects.on_settled,
    limits.on_settled,
    deferred_keys.on_settled,
)
"""Who has to hear of settlements; each looks at ``Settlement.ties`` first."""
Sweep: TypeAlias = Callable[[AsyncConnection, datetime], Awaitable[Effects]]
_REMOVALS = (
    dependencies.removed,
    batch_effects.removed,
    flow_effects.removed,
    limits.removed,
    deferred_keys.removed,
)
_ANY_WAITS = sa.select(sa.exists().where(is_in_state(RunState.AWAITING)))
_SWEEPS: Sequence[Sweep] = (
    sweep_expired,
    dependencies.sweep,
    batch_effects.sweep,
    flow_effects.sweep,
    deferred_keys.sweep,
)


async def any_waits(connection: AsyncConnection, now: datetime) -> bool:
    """Whether there may be something for :func:`sweep`: a run waits for others or for room, or its time is over, or a batch or flow goes on."""
    return (
        bool(await connection.scalar(_ANY_WAITS))
        or await any_expired(connection, now)
        or await batch_effects.any_goes_on(connection)
        or await flow_effects.any_goes_on(connection)
    )


async def sweep(connection: AsyncConnection, now: datetime) -> Effects:
    """Some of what nobody has heard of: runs expire, and nodes of an earlier release, which know nothing of ties, end and remove runs."""
    found = [await one(connection, now) for one in _SWEEPS]
    return together(found)


async def removed(connection: AsyncConnection, rows: Sequence[Any], now: datetime) -> Effects:
    """What it means for others that a person has removed runs; ``rows`` are theirs, as they were."""
    tied = [row for row in rows if row.Ties]
    if not tied:
        return Effects()
    found = [await one(connection, tied, now) for one in _REMOVALS]
    return together(found)


async def on_settled(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Effects:
    """What settlements mean for others, in the transaction that wrote them; runs without ties cost nothing."""
    tied = [item for item in settled if item.ties]
    if not tied:
        return Effects()
    found = [await room(connection, tied, now) for room in _ROOMS]
    return together(found)
