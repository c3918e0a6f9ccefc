"""Runs that wait for a unique key which another run has: once it may be free, the next of them asks for it again.

The run that has the key, and each that waits for it, has the tie ``KEYED``. Whoever sets it holds the lock of the row of the run that has
the key, and sees that it still is in the way (``asking.py``); whoever ends that run finds the tie. So none waits for a run that is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.states import ACTIVE, RunState
from ....jobs.options.unique import QUEUED
from ...dialects.frequent import FrequentStatement
from ...dialects.listed import is_among, listed
from ...runs.transition import is_in_state, state_line, transition
from ...runs.values import Settlement
from ...schema.tied.keys import job_unique
from ...tables import job_run
from ..consequences import Consequences, Ready, over
from ..limit_keys.asking import hidden
from ..tie import Tie
from .marks import ASKS, IS_LIMIT, waits_for
from .unique import Pair

_MOST_SWEPT = 500
_r, _u = job_run.c, job_unique.c
_WAITS = sa.and_(
    _r.LimitKey.is_not(None), _r.CompletedAt.is_(None), _r.State == hidden(RunState.AWAITING)
)
_KEYS_OF = FrequentStatement(
    sa.select(_r.JobName, _r.UniqueKey).where(
        is_among(_r.Id, listed("ids", sa.BigInteger)), _r.UniqueKey.is_not(None)
    )
)
_LEFT_AT_BEGIN = FrequentStatement(
    sa.select(_u.JobName, _u.UniqueKey).where(
        is_among(_u.RunId, listed("ids", sa.BigInteger)),
        _u.Scope == sa.literal_column(f"'{QUEUED}'"),
    )
)
_NEXT = FrequentStatement(
    sa.select(_r.Id, _r.Queue, _r.Priority)
    .where(
        _r.LimitKey == sa.bindparam("mark", type_=sa.Text),
        _r.JobName == sa.bindparam("job", type_=sa.Text),
        _WAITS,
    )
    .order_by(_r.Priority.desc(), _r.DueAt, _r.Id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_ASK_AGAIN = FrequentStatement(
    transition(
        RunState.SCHEDULED,
        _r.Id == sa.bindparam("run_id"),
        sources=[RunState.AWAITING],
        LimitKey=sa.literal_column(f"'{ASKS}'"),
    ).returning(_r.Id)
)
_holder = job_run.alias("holder")
_IS_HELD = (
    sa.exists()
    .where(_u.JobName == _r.JobName, _u.UniqueKey == _r.UniqueKey, _holder.c.Id == _u.RunId)
    .where(_holder.c.State.in_(sorted(ACTIVE)))
    .where(
        sa.or_(
            _u.Scope != QUEUED,
            sa.and_(_holder.c.State != RunState.RUNNING, _holder.c.Attempt == 0),
        )
    )
)
_UNHEARD = (
    sa.select(_r.JobName, _r.UniqueKey)
    .where(is_in_state(RunState.AWAITING), _WAITS, sa.not_(IS_LIMIT), sa.not_(_IS_HELD))
    .distinct()
    .limit(_MOST_SWEPT)
)


async def ended(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Consequences:
    """Runs are over for whose keys others wait."""
    ids = list(over(settled, Tie.KEYED))
    if not ids:
        return Consequences()
    return await _wake(connection, await _KEYS_OF.all(connection, {"ids": ids}), now)


async def begun(connection: AsyncConnection, run_ids: Sequence[int], now: datetime) -> Consequences:
    """Runs have begun for whose keys others wait: those are free of which a run has its key until then."""
    return await _wake(connection, await _LEFT_AT_BEGIN.all(connection, {"ids": run_ids}), now)


async def removed(connection: AsyncConnection, rows: Sequence[Any], now: datetime) -> Consequences:
    """Runs were removed by a person; ``rows`` are theirs, as they were."""
    keyed = [row for row in rows if row.Ties & Tie.KEYED and row.UniqueKey is not None]
    return await _wake(connection, keyed, now)


async def sweep(connection: AsyncConnection, now: datetime) -> Consequences:
    """Keys that nobody has any more, without those having heard of it that wait for them."""
    return await _wake(connection, (await connection.execute(_UNHEARD)).all(), now)


async def _wake(connection: AsyncConnection, rows: Iterable[Any], now: datetime) -> Consequences:
    """Let the next run that waits for each of these keys ask again."""
    ready = []
    pairs: set[Pair] = {(row.JobName, row.UniqueKey) for row in rows}
    for job, key in sorted(pairs):
        for row in await _NEXT.all(connection, {"mark": waits_for(key), "job": job}):
            line = state_line(now, RunState.SCHEDULED, "its unique key may be free")
            await _ASK_AGAIN.all(connection, {"run_id": row.Id, "line": line})
            ready.append(Ready(row.Id, row.Queue, row.Priority, now, asks=True))
    return Consequences(ready=ready)
