"""The rows of requests with an idempotency key: a second one with the same key finds the first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..dialects.counting import insert_new
from ..tables import job_request

KEPT_FOR = timedelta(hours=24)
"""How long a request is known by its key."""

_c = job_request.c


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
        sa.delete(job_request).where(*_is(scope, key), _c.BegunAt < now - KEPT_FOR)
    )
    row = {"Scope": scope, "RequestKey": key, "Digest": digest, "BegunAt": now}
    columns = (_c.Digest, _c.Status, _c.Body, _c.BegunAt)
    earlier = sa.select(*columns).where(*_is(scope, key))
    while not await insert_new(connection, job_request, [_c.Scope, _c.RequestKey], row):
        kept = (await connection.execute(earlier)).one_or_none()
        if kept is not None:  # else the earlier request was refused meanwhile, and left the key
            return Kept(*kept)
    return None


async def end(connection: AsyncConnection, scope: str, key: str, status: int, body: str) -> None:
    """Keep the answer of a request."""
    answered = sa.update(job_request).where(*_is(scope, key)).values(Status=status, Body=body)
    await connection.execute(answered)


async def forget(connection: AsyncConnection, scope: str, key: str) -> None:
    """Give a key back whose request was refused: nothing was done."""
    await connection.execute(sa.delete(job_request).where(*_is(scope, key), _c.Status.is_(None)))


async def remove_old(connection: AsyncConnection, now: datetime) -> None:
    """Remove the requests that are kept no longer."""
    await connection.execute(sa.delete(job_request).where(_c.BegunAt < now - KEPT_FOR))


def _is(scope: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _c.Scope == scope, _c.RequestKey == key
