"""Expiry: a run that has not begun when its time is over is cancelled instead of starting late.

No claim hands it out after that. A claim that meets it ends it; for those that none meets there is a sweep. A run that waits for others is
not due yet, so that it does not expire: see ``links.py``, which lets it go. One that waits for its unique key, or for room under a limit, does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import UNBEGUN, RunState
from ..dialects.frequent import FrequentStatement
from ..dialects.listed import is_among, listed
from ..runs.claim import Row, claim_of
from ..runs.settle import settle
from ..runs.transition import is_in_state
from ..runs.values import Settlement
from ..tables import UtcDateTime, job_run
from .consequences import Consequences
from .tie import Tie

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


async def sweep(connection: AsyncConnection, now: datetime) -> Consequences:
    """End some of the runs whose time is over, the oldest first."""
    query = _EXPIRED.order_by(_c.ExpiresAt, _c.Id).limit(_MOST)
    rows = (await connection.execute(query, {"now": now})).all()
    return Consequences(settled=await settle(connection, [_end(row) for row in rows], now))


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
