"""After runs settle: tell dependents and the installed features; cancel expired runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import UNBEGUN, RunState
from ..db.columns import UtcDateTime
from ..db.dialects.frequent import is_among, listed
from ..db.tables import job_run
from . import deferred_keys, dependencies, limits
from .feature import AfterSettle, Follower, load
from .runs.claim import Row, claim_of
from .runs.settle import settle
from .runs.transition import is_in_state
from .runs.values import Effects, Settlement, Tie, together

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
    is_in_state(*sorted(UNBEGUN), by_index=False),
    sa.or_(
        _c.State != RunState.AWAITING, _c.Ties.op("&")(sa.literal_column(str(int(Tie.ASKS)))) != 0
    ),
    _c.Attempt == 0,
)
_ANY_EXPIRED = sa.select(sa.exists().where(_IS_EXPIRED))
_EXPIRED = sa.select(job_run).where(_IS_EXPIRED).with_for_update(skip_locked=True)


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
#
# The order is: dependencies, the features in the order of ``FEATURES``, limits, deferred keys. Each function looks at ``ties`` first.

Sweep = Callable[[AsyncConnection, datetime], Awaitable[Effects]]
"""Applies some of the effects that no settlement applied, at a given instant."""


async def missed(connection: AsyncConnection, now: datetime) -> list[Sweep]:
    """Return the sweeps that find work now.

    Runs expire, and nodes of an earlier release settle and remove runs without telling dependents. All waiting runs and running batches are
    read, so no lock should be held meanwhile.
    """
    followers: tuple[Follower, ...] = dependencies, *load(AfterSettle), deferred_keys
    sweeps: list[Sweep] = [
        follower.sweep for follower in followers if await follower.any_missed(connection)
    ]
    if await connection.scalar(_ANY_EXPIRED, {"now": now}):
        sweeps.insert(0, sweep_expired)
    return sweeps


async def sweep(connection: AsyncConnection, sweeps: Sequence[Sweep], now: datetime) -> Effects:
    """Apply some of the effects that :func:`missed` has found."""
    return together([await step(connection, now) for step in sweeps])


async def removed(connection: AsyncConnection, rows: Sequence[Any], now: datetime) -> Effects:
    """Apply the effects of runs that a person removed; ``rows`` are the removed rows as they were."""
    tied = [row for row in rows if row.Ties]
    if not tied:
        return Effects()
    return together([await step.removed(connection, tied, now) for step in _followers()])


async def on_settled(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Effects:
    """Apply the effects of settlements of runs with ties, in the transaction that wrote the settlements."""
    return together([await step.on_settled(connection, settled, now) for step in _followers()])


@cache
def _followers() -> tuple[Any, ...]:
    return dependencies, *load(AfterSettle), limits, deferred_keys
