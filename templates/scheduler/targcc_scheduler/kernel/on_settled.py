"""After runs settle: tell dependents, batches and flows; cancel expired runs."""

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
# No claim takes an expired run: a claim that meets an expired run cancels the run, and a sweep cancels the rest. A run that waits for its
# parents is not due yet and does not expire (``dependencies.py`` moves its due time and expiry when the run may go). A run that waits for
# its unique key, or for capacity under a limit, does expire.

_MOST = 500
"""Maximum number of runs that one sweep cancels."""

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
    """Return whether any run has expired."""
    (found,) = await _THERE_ARE_SOME.all(connection, {"now": now})
    return bool(found.some)


async def sweep_expired(connection: AsyncConnection, now: datetime) -> Effects:
    """Cancel up to 500 expired runs, the earliest expiry first."""
    query = _EXPIRED.order_by(_c.ExpiresAt, _c.Id).limit(_MOST)
    rows = (await connection.execute(query, {"now": now})).all()
    return Effects(settled=await settle(connection, [_end(row) for row in rows], now))


async def end(
    connection: AsyncConnection, run_ids: Sequence[int], now: datetime
) -> list[Settlement]:
    """Cancel the expired runs among ``run_ids``."""
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


# Settlements: apply the effects on dependents, whether a run ended or goes on.

Room: TypeAlias = Callable[[AsyncConnection, Sequence[Settlement], datetime], Awaitable[Effects]]
_ROOMS: Sequence[Room] = (
    dependencies.on_settled,
    batch_effects.on_settled,
    flow_effects.on_settled,
    limits.on_settled,
    deferred_keys.on_settled,
)
"""Handlers of settlements; each looks at ``Settlement.ties`` first."""
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
    """Return whether :func:`sweep` may find work.

    That is so while a run waits for other runs or for capacity, a run has expired, or a batch or flow is in progress.
    """
    return (
        bool(await connection.scalar(_ANY_WAITS))
        or await any_expired(connection, now)
        or await batch_effects.any_goes_on(connection)
        or await flow_effects.any_goes_on(connection)
    )


async def sweep(connection: AsyncConnection, now: datetime) -> Effects:
    """Apply some of the effects that no settlement applied.

    Such effects come from expired runs, and from nodes of an earlier release, which settle and remove runs without telling dependents.
    """
    found = [await one(connection, now) for one in _SWEEPS]
    return together(found)


async def removed(connection: AsyncConnection, rows: Sequence[Any], now: datetime) -> Effects:
    """Apply the effects of runs that a person removed; ``rows`` are the removed rows as they were."""
    tied = [row for row in rows if row.Ties]
    if not tied:
        return Effects()
    found = [await one(connection, tied, now) for one in _REMOVALS]
    return together(found)


async def on_settled(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Effects:
    """Apply the effects of settlements, in the transaction that wrote them; runs without ties cost nothing."""
    tied = [item for item in settled if item.ties]
    if not tied:
        return Effects()
    found = [await room(connection, tied, now) for room in _ROOMS]
    return together(found)
