"""Keep the text index up to date in short steps, after runs were settled.

Triggers insert a row into ``c_JobTextDue`` for each run that ended, changed after its end, or was deleted; a step handles some of these rows.
On SQL Server, which has no text index, :func:`note_ended` inserts the rows, for the events of ended runs.
Runs older than the index are indexed from the newest down, starting at the id in ``c_JobSetting``. A search reads runs that no step
has handled yet without the index.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import FINAL
from ..db.columns import UtcDateTime
from ..db.dialects import known
from ..db.dialects.frequent import FrequentStatement
from ..db.dialects.text_index import document
from ..db.tables import job_delivery, job_run, job_setting, job_text_due

UNSEEN = "unindexed runs"
"""Name of the ``c_JobSetting`` row with the largest run id that is older than the index and not indexed yet."""
Tell = Callable[[AsyncConnection, Sequence[int]], Awaitable[None]]
_COUNTED = 1_000
BEHIND = 20_000
"""Number of runs in ``c_JobTextDue`` from which the index is behind; fewer wait while the database is busy."""
_MINE = job_setting.c.Name == UNSEEN
WAITS = sa.or_(
    sa.exists().select_from(job_text_due),
    sa.exists().where(_MINE),
    sa.exists().where(job_delivery.c.DueAt.is_not(None)),
)
"""Condition: there may be a run to index, or a message to send."""


_some = sa.select(job_text_due.c.RunId).limit(_COUNTED).subquery()
_due = sa.select(job_delivery.c.Id).where(
    job_delivery.c.DueAt <= sa.bindparam("now", type_=UtcDateTime)
)
_LOOK = FrequentStatement(
    sa.select(
        sa.select(sa.func.count()).select_from(_some).scalar_subquery().label("waits"),
        sa.select(job_setting.c.Value).where(_MINE).scalar_subquery().label("unseen"),
        _due.limit(1).scalar_subquery().label("due"),
    )
)


@dataclass(frozen=True, slots=True)
class Look:
    """The work to do.

    Args:
        waits: Number of runs in ``c_JobTextDue``, at most 1,000.
        unseen: Largest id of runs older than the index that may be missing in the index; 0 if none.
        sends: Whether a webhook message is due.
    """

    waits: int
    unseen: int
    sends: bool


async def look(connection: AsyncConnection, now: datetime) -> Look:
    """Read the work to do in one statement."""
    [row] = await _LOOK.all(connection, {"now": now})
    return Look(row.waits, int(row.unseen or 0), row.due is not None)


async def note_ended(connection: AsyncConnection, run_ids: Iterable[int]) -> None:
    """Note ended runs in ``c_JobTextDue`` where no trigger does; their events are told because of these rows."""
    dialect = known.of(connection)
    if dialect.notes_ended_runs:
        return
    if rows := [{"RunId": run_id} for run_id in sorted(run_ids)]:
        await connection.execute(dialect.insert_ignore(job_text_due, [job_text_due.c.RunId]), rows)


async def is_behind(connection: AsyncConnection) -> bool:
    """Return whether :data:`BEHIND` runs wait for the index. The statement reads as many rows: ask now and then."""
    due = sa.select(job_text_due.c.RunId).order_by(job_text_due.c.RunId)
    return await connection.scalar(due.offset(BEHIND - 1).limit(1)) is not None


async def step(connection: AsyncConnection, most: int, tell: Tell | None = None) -> int:
    """Index up to ``most`` runs that ended or were deleted, in a transaction, and call ``tell`` with their ids. Return the number of runs.

    Runs that another node is indexing are skipped.
    """
    c = job_text_due.c
    waiting = sa.select(c.RunId).order_by(c.RunId).limit(most).with_for_update(skip_locked=True)
    ids = list(await connection.scalars(waiting))
    if not ids:
        return 0
    dialect = known.of(connection)
    await connection.execute(sa.delete(job_text_due).where(dialect.among(c.RunId, ids)))
    if tell is not None:
        await tell(connection, ids)
    if await dialect.texts.is_there(connection):
        await _index(connection, ids)
    return len(ids)


async def unseen(connection: AsyncConnection) -> int:
    """Return the largest id of runs older than the index that may be missing in the index; 0 if none."""
    return int(await connection.scalar(sa.select(job_setting.c.Value).where(_MINE)) or 0)


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the index.

    Args:
        left: Approximate number of runs that are not indexed yet.
        per_cent: Share of the indexed runs, from 0 to 99; 100 if no run is left.
    """

    left: int
    per_cent: int


async def progress(connection: AsyncConnection) -> Progress:
    """Return the progress of the index. The number of older runs is the difference of two ids."""
    last, c = await unseen(connection), job_run.c
    first = int(await connection.scalar(sa.select(c.Id).order_by(c.Id).limit(1)) or 0)
    newest = int(await connection.scalar(sa.select(c.Id).order_by(c.Id.desc()).limit(1)) or 0)
    waits = int(await connection.scalar(sa.select(sa.func.count()).select_from(job_text_due)) or 0)
    left = waits + (max(min(last, newest) - first + 1, 0) if last else 0)
    every = max(newest - first + 1, left, 1)
    return Progress(left, min(100 * (every - left) // every, 99) if left else 100)


async def catch_up(connection: AsyncConnection, most: int) -> int:
    """Index up to ``most`` runs that are older than the index, in a transaction. Return the number of runs."""
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
    await dialect.texts.write(connection, {run_id: over.get(run_id) for run_id in ids})
