"""Idempotency keys: a call that its caller names makes one run, however often it is repeated, for as long as the run is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.errors import IdempotencyError, RunStateError
from ...dialects import known
from ...runs.values import NewRun
from ...schema.tied.keys import job_idempotency
from ...tables import job_run
from .unique import NOBODY

_MOST_TRIES = 1_000
_c = job_idempotency.c


async def take(connection: AsyncConnection, run: NewRun, now: datetime) -> int | None:
    """Take the key of a call whose run is about to be inserted; or the run that the call made before.

    Args:
        connection: The transaction.
        run: The run that is asked for; nothing happens if its call has no name.
        now: The present instant.

    Raises:
        IdempotencyError: the key was used for another job, or with other arguments.
    """
    if run.call is None:
        return None
    row = {
        "IdempotencyKey": run.call.key,
        "JobName": run.job_name,
        "RunId": NOBODY,
        "Digest": run.call.digest,
        "CreatedAt": now,
    }
    ignore = known.of(connection).insert_ignore(job_idempotency, [_c.IdempotencyKey])
    insert = ignore.values(row).returning(_c.IdempotencyKey)
    before = (
        sa.select(_c.RunId, _c.Digest, job_run.c.Id)
        .select_from(job_idempotency.outerjoin(job_run, job_run.c.Id == _c.RunId))
        .where(_c.IdempotencyKey == run.call.key)
    )
    for _ in range(_MOST_TRIES):
        if (await connection.execute(insert)).first() is not None:
            return None
        found = (await connection.execute(before)).one_or_none()
        if found is None:  # its run was removed just now
            continue
        if found.Id is None:
            await connection.execute(sa.delete(job_idempotency).where(_is(run.call.key, found)))
            continue
        if found.Digest not in {run.call.digest, *run.call.former}:
            raise IdempotencyError(
                f"the idempotency key {run.call.shown!r} is that of run {found.RunId}, which has another job or other arguments"
            )
        return int(found.RunId)
    raise RunStateError(f"the idempotency key {run.call.shown!r} is taken and left all the time")


async def without_repeated(connection: AsyncConnection, runs: Sequence[NewRun]) -> list[NewRun]:
    """Runs whose calls were made before wait for nothing, as what they would wait for may be gone; the run of the first call stays until this transaction ends."""
    keys = [run.call.key for run in runs if run.call is not None and run.after is not None]
    if not keys:
        return list(runs)
    made = (
        sa.select(_c.IdempotencyKey)
        .join(job_run, job_run.c.Id == _c.RunId)
        .where(_c.IdempotencyKey.in_(keys))
        .order_by(_c.IdempotencyKey)
        .with_for_update(of=job_idempotency)
    )
    repeated = set((await connection.execute(made)).scalars())
    return [
        replace(run, after=None) if run.call is not None and run.call.key in repeated else run
        for run in runs
    ]


async def give(connection: AsyncConnection, runs: Mapping[str, int]) -> None:
    """Say which runs the calls made whose keys :func:`take` has taken."""
    for key, run_id in runs.items():
        is_it = _c.IdempotencyKey == key
        await connection.execute(sa.update(job_idempotency).where(is_it).values(RunId=run_id))


def _is(key: str, found: sa.Row[int, str, int]) -> sa.ColumnElement[bool]:
    return sa.and_(_c.IdempotencyKey == key, _c.RunId == found.RunId)
