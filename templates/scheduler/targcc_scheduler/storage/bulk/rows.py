"""The rows of operations on many runs: how far they are, and what they did to each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import UnknownBulk
from ..dialects import known
from ..dialects.counting import changed
from ..dialects.frequent import FrequentStatement
from ..tables import job_bulk, job_bulk_run

RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped", "failed"
_RUNNING = FrequentStatement(
    sa.select(job_bulk.c.Id).where(job_bulk.c.Status == RUNNING).order_by(job_bulk.c.Id)
)

GOES_ON = sa.exists().where(job_bulk.c.Status == sa.literal_column(f"'{RUNNING}'"))
"""Whether there is an operation that goes on."""


@dataclass(frozen=True, slots=True)
class Did:
    """What was done to a run.

    Args:
        run_id: The run; negative and counted down for what is no run, such as a job that was paused.
        new_run_id: The run that does it again.
        previous: What there was before, such as its queue.
    """

    run_id: int
    new_run_id: int | None = None
    previous: str | None = None


async def create(connection: AsyncConnection, **values: Any) -> int:
    """A new operation; its id."""
    done = await connection.execute(
        sa.insert(job_bulk).values(Status=RUNNING, **values).returning(job_bulk.c.Id)
    )
    return int(done.scalar_one())


async def take(connection: AsyncConnection, bulk_id: int) -> Any:
    """The row of an operation that goes on, locked until the transaction ends; ``None`` when it is over, or another process has it."""
    wanted = sa.select(job_bulk).where(job_bulk.c.Id == bulk_id, job_bulk.c.Status == RUNNING)
    return (await connection.execute(wanted.with_for_update(skip_locked=True))).one_or_none()


async def get(connection: AsyncConnection, bulk_id: int) -> Any:
    """The row of an operation.

    Raises:
        UnknownBulk: there is none.
    """
    row = (
        await connection.execute(sa.select(job_bulk).where(job_bulk.c.Id == bulk_id))
    ).one_or_none()
    if row is None:
        raise UnknownBulk(f"there is no operation {bulk_id}: targcc bulk list shows them")
    return row


async def running(connection: AsyncConnection) -> list[int]:
    """The operations that go on, the oldest first."""
    return [row.Id for row in await _RUNNING.all(connection, {})]


async def advance(
    connection: AsyncConnection, row: Any, did: Sequence[Did], *, place: int | None, refused: int
) -> None:
    """Write down what a step did, and up to which run it came."""
    if did:
        await connection.execute(
            sa.insert(job_bulk_run),
            [
                {
                    "BulkId": row.Id,
                    "RunId": one.run_id,
                    "NewRunId": one.new_run_id,
                    "Previous": one.previous,
                }
                for one in did
            ],
        )
    values = {
        "Done": job_bulk.c.Done + len(did),
        "Refused": job_bulk.c.Refused + refused,
        "Place": place,
    }
    await connection.execute(sa.update(job_bulk).where(job_bulk.c.Id == row.Id).values(values))


async def end(
    connection: AsyncConnection, bulk_id: int, state: str, now: datetime, message: str | None = None
) -> bool:
    """End an operation; whether it was going on."""
    ended = (
        sa.update(job_bulk)
        .where(job_bulk.c.Id == bulk_id, job_bulk.c.Status == RUNNING)
        .values(Status=state, EndedAt=now, Message=message)
    )
    return await changed(connection, ended) == 1


async def done_to(
    connection: AsyncConnection, bulk_id: int, after: int | None, most: int
) -> list[Did]:
    """What an operation did, in the order of the runs' ids, from the run that was seen last."""
    c = job_bulk_run.c
    found = sa.select(c.RunId, c.NewRunId, c.Previous).where(c.BulkId == bulk_id)
    if after is not None:
        found = found.where(c.RunId > after)
    rows = await connection.execute(found.order_by(c.RunId).limit(most))
    return [Did(row.RunId, row.NewRunId, row.Previous) for row in rows]


async def undone_by(connection: AsyncConnection, bulk_id: int) -> int | None:
    """The operation that takes this one back, if there is one."""
    found: int | None = await connection.scalar(
        sa.select(job_bulk.c.Id).where(job_bulk.c.Undoes == bulk_id).limit(1)
    )
    return found


async def remove_old(connection: AsyncConnection, before: datetime) -> None:
    """Remove operations that ended before an instant, but for those that are being taken back."""
    c, undo = job_bulk.c, job_bulk.alias("undo")
    is_undone = sa.exists().where(undo.c.Undoes == c.Id, undo.c.Status == RUNNING)
    old = sa.select(c.Id).where(c.EndedAt < before, ~is_undone)
    ids = list(await connection.scalars(old))
    for column in (job_bulk_run.c.BulkId, c.Id):
        among = known.of(connection).among(column, ids)
        await connection.execute(sa.delete(column.table).where(among))
