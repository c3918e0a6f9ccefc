"""Keeping the index up to date, in short steps, behind those who settle runs.

Triggers note each run that ended, changed after that, or went (``c_JobTextDue``); a step takes some of them. Runs from before the index
are taken from the newest on, down from the id that ``c_JobSetting`` names. A search looks at all that no step has reached by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL
from ..dialects import known
from ..tables import job_run, job_setting, job_text_due
from .document import document

UNSEEN = "unindexed runs"
"""The row of ``c_JobSetting`` that says up to which id there are runs from before the index."""
_COUNTED = 1_000
_MINE = job_setting.c.Name == UNSEEN
WAITS = sa.or_(sa.exists().select_from(job_text_due), sa.exists().where(_MINE))
"""Whether there may be something for a step to do."""


async def waits(connection: AsyncConnection) -> int:
    """How many runs wait for a step, of those of the next."""
    some = sa.select(job_text_due.c.RunId).limit(_COUNTED).subquery()
    return int(await connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0)


async def step(connection: AsyncConnection, most: int) -> int:
    """Take up to ``most`` runs that ended or went, in a transaction; how many."""
    c = job_text_due.c
    ids = list(await connection.scalars(sa.select(c.RunId).order_by(c.RunId).limit(most)))
    if not ids:
        return 0
    dialect = known.of(connection)
    await connection.execute(sa.delete(job_text_due).where(dialect.among(c.RunId, ids)))
    if await dialect.texts.is_there(connection):
        await _index(connection, ids)
    return len(ids)


async def unseen(connection: AsyncConnection) -> int:
    """Up to which id there may be runs from before the index that it does not know; 0: there are none."""
    return int(await connection.scalar(sa.select(job_setting.c.Value).where(_MINE)) or 0)


async def catch_up(connection: AsyncConnection, most: int) -> int:
    """Take up to ``most`` runs from before the index, in a transaction; how many."""
    taken = sa.select(job_setting.c.Value).where(_MINE).with_for_update()
    last = await connection.scalar(taken)
    if last is None or not await known.of(connection).texts.is_there(connection):
        return 0
    c = job_run.c
    below = sa.select(c.Id).where(c.Id <= int(last)).order_by(c.Id.desc()).limit(most)
    ids = list(await connection.scalars(below))
    await _index(connection, ids)
    if len(ids) < most:
        await connection.execute(sa.delete(job_setting).where(_MINE))
    else:
        await connection.execute(sa.update(job_setting).where(_MINE).values(Value=str(ids[-1] - 1)))
    return len(ids)


async def _index(connection: AsyncConnection, ids: Sequence[int]) -> None:
    c = job_run.c
    dialect = known.of(connection)
    rows = await connection.execute(
        sa.select(c.Id, c.JobName, c.TriggeredBy, c.Message, c.ArgumentsJson)
        .add_columns(c.State, c.Queue, c.ServerId, c.StartedAt, c.CompletedAt)
        .where(dialect.among(c.Id, ids))
    )
    over = {row.Id: document(row) for row in rows if row.State in FINAL}
    await dialect.texts.write(connection, {one: over.get(one) for one in ids})
