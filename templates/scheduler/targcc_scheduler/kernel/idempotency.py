"""Idempotency keys of calls and of HTTP requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import IdempotencyError, RunStateError
from ..db.dialects import known
from ..db.dialects.frequent import insert_new, remove_some
from ..db.tables import job_idempotency, job_request, job_run
from .runs.values import NewRun
from .unique import NOBODY

# Calls: a repeated call with the same key returns the first run, for as long as that run is kept.

_MOST_TRIES = 1_000
_c = job_idempotency.c


async def take(connection: AsyncConnection, run: NewRun, now: datetime) -> int | None:
    """Take a call's idempotency key before inserting the run.

    Args:
        connection: The transaction.
        run: The run to insert; a run without an idempotency key is ignored.
        now: The present instant.

    Returns:
        The id of the run that an earlier call with this key created, or ``None`` if the run is to be inserted.

    Raises:
        IdempotencyError: the key was used for another job, or with other arguments.
        RunStateError: other transactions keep inserting and deleting the key.
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
        holder = (await connection.execute(before)).one_or_none()
        if holder is None:  # the run was removed just now
            continue
        if holder.Id is None:
            await connection.execute(sa.delete(job_idempotency).where(_is(run.call.key, holder)))
            continue
        if holder.Digest not in {run.call.digest, *run.call.former}:
            raise IdempotencyError(
                f"the idempotency key {run.call.shown!r} is that of run {holder.RunId}, which has another job or other arguments"
            )
        return int(holder.RunId)
    raise RunStateError(f"the idempotency key {run.call.shown!r} is taken and left all the time")


async def without_repeated(connection: AsyncConnection, runs: Sequence[NewRun]) -> list[NewRun]:
    """Return the runs, removing ``after`` from runs of repeated calls: their parents may be gone.

    Locks the keys of repeated calls: the first call's run stays until this transaction ends.
    """
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
    """Store the ids of the inserted runs in the keys that :func:`take` took."""
    for key, run_id in runs.items():
        is_it = _c.IdempotencyKey == key
        await connection.execute(sa.update(job_idempotency).where(is_it).values(RunId=run_id))


def _is(key: str, row: sa.Row[int, str, int]) -> sa.ColumnElement[bool]:
    return sa.and_(_c.IdempotencyKey == key, _c.RunId == row.RunId)


# HTTP requests: a second request with the same key returns the response to the first.

KEPT_FOR = timedelta(hours=24)
"""Time for which the key of a request is kept."""

_answer = job_request.c


@dataclass(frozen=True, slots=True)
class Kept:
    """An earlier request with the same key.

    Args:
        digest: Digest of the request, in hexadecimal.
        status: Status of the response; ``None`` while there is no response.
        body: Body of the response.
        begun_at: When the request arrived.
    """

    digest: str
    status: int | None
    body: str | None
    begun_at: datetime


async def begin(
    connection: AsyncConnection,
    scope: str,
    key: str,
    *,
    digest: str,
    now: datetime,
) -> Kept | None:
    """Take the key of a request that is about to be carried out.

    Args:
        connection: In a writing transaction.
        scope: Digest of caller and address, in hexadecimal; keys of other scopes do not conflict.
        key: Idempotency key that the caller sent.
        digest: Digest of the request, in hexadecimal.
        now: The time.

    Returns:
        The earlier request with this key, or ``None`` if this request is the first.
    """
    await connection.execute(
        sa.delete(job_request).where(*_is_answer(scope, key), _answer.BegunAt < now - KEPT_FOR)
    )
    row = {"Scope": scope, "RequestKey": key, "Digest": digest, "BegunAt": now}
    columns = (_answer.Digest, _answer.Status, _answer.Body, _answer.BegunAt)
    earlier = sa.select(*columns).where(*_is_answer(scope, key))
    while not await insert_new(connection, job_request, [_answer.Scope, _answer.RequestKey], row):
        kept = (await connection.execute(earlier)).one_or_none()
        if kept is not None:  # else the earlier request was refused meanwhile, and its key deleted
            return Kept(*kept)
    return None


async def end(connection: AsyncConnection, scope: str, key: str, status: int, body: str) -> None:
    """Store the response to a request."""
    answered = (
        sa.update(job_request).where(*_is_answer(scope, key)).values(Status=status, Body=body)
    )
    await connection.execute(answered)


async def forget(connection: AsyncConnection, scope: str, key: str) -> None:
    """Delete the key of a request that was refused before anything was done."""
    await connection.execute(
        sa.delete(job_request).where(*_is_answer(scope, key), _answer.Status.is_(None))
    )


async def remove_old(connection: AsyncConnection, _: datetime, now: datetime, most: int) -> int:
    """Delete up to ``most`` requests older than :data:`KEPT_FOR`, and return their number."""
    is_old = _answer.BegunAt < now - KEPT_FOR
    return await remove_some(connection, job_request, is_old, most=most)


def _is_answer(scope: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _answer.Scope == scope, _answer.RequestKey == key
