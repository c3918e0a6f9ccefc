"""Idempotency keys of calls and of HTTP requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import IdempotencyError, RunStateError
from ..db.dialects import known
from ..db.dialects.counting import insert_new
from ..db.tables import job_idempotency, job_request, job_run
from .runs.values import NewRun
from .unique import NOBODY

# Idempotency keys: a call that its caller names makes one run, however often it is repeated, for as long as the run is kept.

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


# The rows of requests with an idempotency key: a second one with the same key finds the first.

KEPT_FOR = timedelta(hours=24)
"""How long a request is known by its key."""

_answer = job_request.c


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of an earlier request.

    Args:
        digest: What it asked for, in hexadecimal.
        status: The status of its answer; ``None`` while there is none.
        body: The body of its answer.
        begun_at: When the request came.
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
    """Take a key for a request that is about to be carried out.

    Args:
        connection: In a writing transaction.
        scope: The caller and the address, in hexadecimal: keys of others are not in the way.
        key: What the caller named the request.
        digest: What it asks for, in hexadecimal.
        now: The time.

    Returns:
        The earlier request of this name, or ``None``: then this one is the first.
    """
    await connection.execute(
        sa.delete(job_request).where(*_is_answer(scope, key), _answer.BegunAt < now - KEPT_FOR)
    )
    row = {"Scope": scope, "RequestKey": key, "Digest": digest, "BegunAt": now}
    columns = (_answer.Digest, _answer.Status, _answer.Body, _answer.BegunAt)
    earlier = sa.select(*columns).where(*_is_answer(scope, key))
    while not await insert_new(connection, job_request, [_answer.Scope, _answer.RequestKey], row):
        kept = (await connection.execute(earlier)).one_or_none()
        if kept is not None:  # else the earlier request was refused meanwhile, and left the key
            return Kept(*kept)
    return None


async def end(connection: AsyncConnection, scope: str, key: str, status: int, body: str) -> None:
    """Keep the answer of a request."""
    answered = (
        sa.update(job_request).where(*_is_answer(scope, key)).values(Status=status, Body=body)
    )
    await connection.execute(answered)


async def forget(connection: AsyncConnection, scope: str, key: str) -> None:
    """Give a key back whose request was refused: nothing was done."""
    await connection.execute(
        sa.delete(job_request).where(*_is_answer(scope, key), _answer.Status.is_(None))
    )


async def remove_old(connection: AsyncConnection, now: datetime) -> None:
    """Remove the requests that are kept no longer."""
    await connection.execute(sa.delete(job_request).where(_answer.BegunAt < now - KEPT_FOR))


def _is_answer(scope: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _answer.Scope == scope, _answer.RequestKey == key
