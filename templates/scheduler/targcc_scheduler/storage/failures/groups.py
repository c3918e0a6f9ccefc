"""Failures by their cause: when a cause was seen first, and what people did about its runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import UnknownFailure
from ...core.states import RunState
from ..dialects import known
from ..dialects.counting import changed
from ..dialects.frequent import FrequentStatement
from ..tables import job_failure, job_run, job_server, job_setting
from .cause import Cause, cause_of

_NEWEST = 500
_SINCE = "causes since"
"""The setting that says from when on failures have causes: since the first node of this release looked."""
_BEGUN = sa.select(job_setting.c.UpdatedAt).where(job_setting.c.Name == _SINCE)
_FAILED = (
    sa.select(job_run.c.Id)
    .where(job_run.c.State == RunState.FAILED)
    .order_by(job_run.c.Id.desc())
    .limit(_NEWEST)
).subquery()
_LACKS = sa.and_(
    job_run.c.Id.in_(sa.select(_FAILED.c.Id)),
    job_run.c.Cause.is_(None),
    job_run.c.HandledAt.is_(None),
    job_run.c.CompletedAt >= _BEGUN.scalar_subquery(),
)
_LACKING = FrequentStatement(
    sa.select((~_BEGUN.exists()).label("first"), sa.exists().where(_LACKS).label("runs"))
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A run that failed of a cause.

    Args:
        cause: Why.
        at: When it ended.
        run_id: The run.
        server_id: The node it ran on, whose release is noted with a cause that is new.
    """

    cause: Cause
    at: datetime
    run_id: int | None = None
    server_id: str | None = None


async def note(connection: AsyncConnection, seen: Iterable[Seen]) -> None:
    """Write down the causes that nobody has seen before; costs a statement for each cause."""
    first: dict[str, Seen] = {}
    for one in seen:
        first.setdefault(one.cause.key, one)
    for key in sorted(first):  # in one order, so that no two nodes wait for each other
        one = first[key]
        statement = known.of(connection).insert_ignore(job_failure, [job_failure.c.Cause])
        release = sa.select(job_server.c.Release).where(job_server.c.Id == one.server_id)
        await connection.execute(
            statement.values(
                Cause=key,
                JobName=one.cause.job,
                Kind=one.cause.kind,
                Place=one.cause.place or None,
                Message=one.cause.message or None,
                FirstAt=one.at,
                FirstRunId=one.run_id,
                FirstRelease=release.scalar_subquery() if one.server_id else None,
            )
        )


def is_open(cause: str | None = None) -> list[sa.ColumnElement[bool]]:
    """That a run failed, or was missed, and nobody has done anything about it."""
    this = [] if cause is None else [job_run.c.Cause == cause]
    return [*this, job_run.c.Cause.is_not(None), job_run.c.HandledAt.is_(None)]


async def handle(
    connection: AsyncConnection,
    cause: str,
    by: str,
    how: str,
    *,
    now: datetime,
    run_ids: Sequence[int] | None = None,
) -> int:
    """Take the open runs of a cause, or some of them, off the list; how many there were.

    Raises:
        UnknownFailure: there is no such cause.
    """
    await require(connection, cause)
    where = is_open(cause)
    if run_ids is not None:
        where.append(known.of(connection).among(job_run.c.Id, run_ids))
    handled = sa.update(job_run).where(await _locked(connection, *where), *where)
    done = handled.values(HandledAt=now, HandledBy=by[:100], Handling=how[:500])
    return await changed(connection, done)


async def _locked(
    connection: AsyncConnection, *where: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """Lock runs in the order of their ids, as everybody does; that a run is one of them."""
    runs = sa.select(job_run.c.Id).where(*where).order_by(job_run.c.Id).with_for_update()
    return known.of(connection).among(job_run.c.Id, list(await connection.scalars(runs)))


async def handled_as(
    connection: AsyncConnection, run_id: int, by: str, how: str, now: datetime
) -> None:
    """Note what a person did about one run."""
    await connection.execute(
        sa.update(job_run)
        .where(job_run.c.Id == run_id, job_run.c.Cause.is_not(None))
        .values(HandledAt=now, HandledBy=by[:100], Handling=how[:500])
    )


async def reopen(connection: AsyncConnection, run_ids: Sequence[int]) -> int:
    """Put runs on the list again; how many."""
    among = known.of(connection).among(job_run.c.Id, run_ids)
    again = sa.update(job_run).where(await _locked(connection, among), job_run.c.Cause.is_not(None))
    undone = again.values(HandledAt=None, HandledBy=None, Handling=None)
    return await changed(connection, undone)


async def change(connection: AsyncConnection, cause: str, **values: Any) -> None:
    """Set columns of a cause: who snoozed or muted it, its assignee, its ticket.

    Raises:
        UnknownFailure: there is no such cause.
    """
    await require(connection, cause)
    await connection.execute(
        sa.update(job_failure).where(job_failure.c.Cause == cause).values(**values)
    )


async def remove_old(connection: AsyncConnection, before: datetime) -> None:
    """Remove causes from before an instant that no run has any more; muted ones stay."""
    has_runs = sa.exists().where(job_run.c.Cause == job_failure.c.Cause)
    old = [job_failure.c.FirstAt < before, job_failure.c.MutedAt.is_(None)]
    await connection.execute(sa.delete(job_failure).where(*old, ~has_runs))


async def require(connection: AsyncConnection, cause: str) -> Any:
    """The row of a cause.

    Raises:
        UnknownFailure: there is none.
    """
    found = sa.select(job_failure).where(job_failure.c.Cause == cause)
    row = (await connection.execute(found)).one_or_none()
    if row is None:
        raise UnknownFailure(f"there is no failure {cause!r}: targcc inbox list shows them")
    return row


async def lacking(connection: AsyncConnection) -> bool:
    """Whether :func:`give_causes` has something to do."""
    return any(row.first or row.runs for row in await _LACKING.all(connection, {}))


async def give_causes(connection: AsyncConnection, now: datetime) -> int:
    """Give a cause to runs that a node of the release before has failed; how many got one.

    Only the newest failures are looked at, and those from before there were causes need nobody.
    """
    c = job_run.c
    first = known.of(connection).insert_ignore(job_setting, [job_setting.c.Name])
    await connection.execute(first.values(Name=_SINCE, Value="", UpdatedAt=now))
    found = await connection.execute(
        sa.select(c.Id, c.JobName, c.Message, c.CompletedAt, c.ServerId)
        .where(_LACKS)
        .order_by(c.Id)
    )
    seen = [
        Seen(cause_of(row.JobName, row.Message), row.CompletedAt, row.Id, row.ServerId)
        for row in found
    ]
    await note(connection, seen)
    for one in seen:
        await connection.execute(
            sa.update(job_run).where(c.Id == one.run_id).values(Cause=one.cause.key)
        )
    return len(seen)
