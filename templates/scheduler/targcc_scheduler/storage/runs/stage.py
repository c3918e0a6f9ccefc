"""Stage: runs whose time has come become enqueued. The engine's loop does so, in a transaction of its own."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ..dialects.frequent import FrequentStatement
from ..dialects.listed import is_among, listed
from ..owners.rows import IS_OURS
from ..tables import UtcDateTime, job_run
from ..ties.keys.marks import has_its_keys
from .transition import OTHER, is_free, is_in_state, state_line, transition

WAITS_FOR_ITS_TIME = (RunState.SCHEDULED, RunState.RETRYING)
_IS_DUE_AND_FREE = is_free(
    is_in_state(*WAITS_FOR_ITS_TIME, of=OTHER),
    OTHER.c.DueAt <= sa.bindparam("now", type_=UtcDateTime),
    has_its_keys(OTHER),
)
_STAGE = FrequentStatement(
    transition(RunState.ENQUEUED, _IS_DUE_AND_FREE, sources=WAITS_FOR_ITS_TIME)
)


async def stage_due(connection: AsyncConnection, now: datetime) -> int:
    """Scheduled and retrying runs whose time has come become enqueued, but for those that ask for their keys first (``ties/keys/asking.py``). Returns how many."""
    line = state_line(now, RunState.ENQUEUED, "due")
    (count,) = await _STAGE.counts(connection, [{"now": now, "line": line}])
    return count


_MINE = is_among(job_run.c.Queue, listed("queues", sa.Text))
# `RefusedBy` is NULL for nearly all runs, so the pattern is hardly ever looked at.
NOT_REFUSED = sa.or_(
    job_run.c.RefusedBy.is_(None), job_run.c.RefusedBy.not_like(sa.bindparam("refused"))
)
"""That no node with this fingerprint has refused the run; its parameter ``refused`` is what :func:`refused_by` gives."""
_WAITING_WORK = FrequentStatement(
    sa.select(
        sa.exists()
        .where(job_run.c.State == RunState.ENQUEUED, _MINE, NOT_REFUSED, IS_OURS)
        .label("waits"),
        sa.select(sa.func.min(job_run.c.DueAt))
        .where(is_in_state(*WAITS_FOR_ITS_TIME), _MINE, IS_OURS)
        .scalar_subquery()
        .label("next_due"),
    )
)


def refused_by(fingerprint: str) -> str:
    """The pattern of a fingerprint in ``RefusedBy``; nothing has it when it is empty."""
    return f"%{fingerprint}%" if fingerprint else ""


async def waiting_work(
    connection: AsyncConnection, queues: Collection[str], now: datetime, fingerprint: str = ""
) -> tuple[bool, datetime | None]:
    """Whether a run that the node has not refused waits for a worker in one of the queues, and when the next one is due."""
    asked = {"queues": list(queues), "refused": refused_by(fingerprint)}
    (found,) = await _WAITING_WORK.all(connection, asked)
    next_due: datetime | None = found.next_due
    return bool(found.waits) or (next_due is not None and next_due <= now), next_due
