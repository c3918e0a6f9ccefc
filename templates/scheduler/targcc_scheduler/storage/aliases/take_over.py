"""A job takes over what is kept under a name that it had before.

What decides about its runs goes at once, in one transaction: schedule and pause, owner, alerts, overrides, unique keys, the runs that are not
over. Its history follows in short steps. Nodes of an older release still know the old name: the row of its schedule stays there, says that
it was renamed, and belongs to the newer release, so that they create no slots; the runs that they have are theirs to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL
from ..deploy import releases
from ..deploy.releases import LOWEST
from ..dialects import known
from ..runs.refuse import Waiting
from ..schema.tied.keys import job_unique
from ..slots import RENAMED
from ..statistics import counts
from ..tables import (
    job_alert,
    job_link,
    job_override,
    job_owner,
    job_run,
    job_schedule,
    job_shadow,
    logged_job,
)
from ..ties.following import place_of

_Row = Any
_HAS_WAITING = sa.select(job_run.c.Id).where(job_run.c.State.not_in(sorted(FINAL))).limit(1)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a job has taken over.

    Args:
        schedule: Whether its schedule and pause were among it.
        refused: Runs that waited for a node that knows the old name.
    """

    schedule: bool = False
    refused: tuple[Waiting, ...] = ()


async def is_left(connection: AsyncConnection, new: str, old: str) -> bool:
    """Whether anything that decides about runs is kept under an old name, or the job waits for that."""
    schedule = sa.select(job_schedule.c.JobName).where(sa.or_(_is_live(old), _is_held(new, old)))
    alerts = sa.select(job_alert.c.JobName).where(job_alert.c.JobName == old)
    owner = sa.select(job_owner.c.JobName).where(job_owner.c.JobName == old)
    override = sa.select(job_override.c.JobName).where(job_override.c.JobName == old).limit(1)
    runs = _HAS_WAITING.where(job_run.c.JobName == old)
    keys = sa.select(job_unique.c.RunId).where(_is_key_of(new, old)).limit(1)
    asked = (schedule, alerts, owner, override, runs, keys, _places_of(old))
    found = [await connection.scalar(one) for one in asked]
    return any(one is not None for one in found)


async def take_over(connection: AsyncConnection, new: str, old: str, release: str) -> Taken:
    """Let the job ``new`` have what decides about the runs of ``old``, in a transaction that writes.

    Nothing moves while a release decides that has the job under its old name: then the new name gets no slots.

    Args:
        connection: The transaction.
        new: The job.
        old: A name that it had before.
        release: The release of this node.
    """
    ranks = await releases.ranks(connection)  # one node at a time
    rows = await _schedules(connection, new, old)
    before, now = rows.get(old), rows.get(new)
    live = before is not None and not (before.ScheduleText or "").startswith(RENAMED)
    if before is not None and live:
        if ranks.get(before.Release or "", LOWEST) > ranks.get(release, LOWEST):
            await _hold(connection, new, old, before, now)
            return Taken()
        await _take_schedule(connection, new, before, now, release)
    else:  # what it waited for is gone: it starts from now
        held = sa.update(job_schedule).where(_is_held(new, old))
        await connection.execute(held.values(ScheduleText=None, LastSlot=None, Release=None))
    await _take_alone(connection, job_alert.c.JobName, new, old)
    await _take_alone(connection, job_owner.c.JobName, new, old)
    await _take_alone(connection, job_override.c.JobName, new, old)
    refused = await _take_waiting(connection, new, old)  # runs are locked before keys
    await connection.execute(sa.update(job_unique).where(_is_key_of(new, old)).values(JobName=new))
    await _take_places(connection, new, old)
    return Taken(live, refused)


async def take_history(connection: AsyncConnection, new: str, old: str, most: int) -> bool:
    """Let a job have up to ``most`` rows of each kind of the history of an old name. Whether there may be more.

    The audit stays as it was written.
    """
    await releases.lock(connection)
    names = (new, old)
    moved = [
        await _take_some(connection, logged_job.c.ID, names, most),
        await _take_some(connection, job_run.c.Id, names, most, _is_free(new), _IS_OVER),
        await counts.rename(connection, new, old, most=most),
    ]
    await _take_shadow(connection, new, old)
    return max(moved) >= most


_IS_OVER = job_run.c.State.in_(sorted(FINAL))


def _is_live(old: str) -> sa.ColumnElement[bool]:
    text = sa.func.coalesce(job_schedule.c.ScheduleText, "")
    return sa.and_(job_schedule.c.JobName == old, text.not_like(f"{RENAMED}%"))


def _is_held(new: str, old: str) -> sa.ColumnElement[bool]:
    return sa.and_(job_schedule.c.JobName == new, job_schedule.c.ScheduleText == f"{RENAMED}{old}")


def _is_free(new: str) -> sa.ColumnElement[bool]:
    """That the job has no run of the same slot: there is one a slot."""
    other = job_run.alias()
    return sa.or_(
        job_run.c.ScheduledFor.is_(None),
        ~sa.exists().where(other.c.JobName == new, other.c.ScheduledFor == job_run.c.ScheduledFor),
    )


async def _schedules(connection: AsyncConnection, *names: str) -> Mapping[str, _Row]:
    """The rows of these jobs' schedules; no slot of theirs becomes a run until the transaction ends."""
    query = sa.select(job_schedule).where(job_schedule.c.JobName.in_(names))
    rows = await connection.execute(query.order_by(job_schedule.c.JobName).with_for_update())
    return {row.JobName: row for row in rows}


async def _take_schedule(
    connection: AsyncConnection, new: str, before: _Row, now: _Row | None, release: str
) -> None:
    values = before._asdict() | {"JobName": new, "Release": release}
    if now is None:
        await connection.execute(job_schedule.insert().values(values))
    elif _is_newer(before, now):
        await connection.execute(
            sa.update(job_schedule).where(job_schedule.c.JobName == new).values(values)
        )
    # Pause and reason stay: should the older release come back, it finds the job as it was.
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName == before.JobName)
        .values(ScheduleText=f"{RENAMED}{new}", LastSlot=None, Release=release)
    )


def _is_newer(before: _Row, now: _Row) -> bool:
    """Whether the old name was in use after the new one: an older release was deployed again meanwhile."""
    if (now.ScheduleText or "").startswith(RENAMED) or now.LastSlot is None:
        return before.LastSlot is not None or now.PausedAt is None
    return before.LastSlot is not None and before.LastSlot > now.LastSlot


async def _hold(
    connection: AsyncConnection, new: str, old: str, before: _Row, now: _Row | None
) -> None:
    """Let the new name have no slots: the old one has them."""
    text = f"{RENAMED}{old}"
    values = {"ScheduleText": text, "LastSlot": None, "Release": before.Release}
    if now is None:
        await connection.execute(job_schedule.insert().values(JobName=new, **values))
    elif (now.ScheduleText, now.Release) != (text, before.Release):
        await connection.execute(
            sa.update(job_schedule).where(job_schedule.c.JobName == new).values(values)
        )


def _is_key_of(new: str, old: str) -> sa.ColumnElement[bool]:
    """That a run has a unique key under the old name that none has under the new one."""
    other = job_unique.alias()
    taken = sa.exists().where(other.c.JobName == new, other.c.UniqueKey == job_unique.c.UniqueKey)
    return sa.and_(job_unique.c.JobName == old, ~taken)


def _places_of(job: str) -> sa.Select[tuple[int]]:
    """The runs that wait for a run of a job that is to come."""
    kind, place = place_of(job)
    c = job_link.c
    return sa.select(c.ChildId).where(c.ParentKind == kind, c.ParentId == place)


async def _take_places(connection: AsyncConnection, new: str, old: str) -> None:
    c, (kind, place), (_, before) = job_link.c, place_of(new), place_of(old)
    both = sa.and_(c.ParentKind == kind, c.ParentId == before, c.ChildId.not_in(_places_of(new)))
    await connection.execute(sa.update(job_link).where(both).values(ParentId=place))


async def _take_alone(
    connection: AsyncConnection, column: sa.Column[Any], new: str, old: str
) -> None:
    """Take the only row that a job has in a table, unless it has one of its own."""
    table = column.table
    assert isinstance(table, sa.Table)  # the columns are of ours
    if await connection.scalar(sa.select(column).where(column == new)) is None:
        await connection.execute(sa.update(table).where(column == old).values(JobName=new))


async def _take_waiting(connection: AsyncConnection, new: str, old: str) -> tuple[Waiting, ...]:
    c = job_run.c
    mine = sa.and_(c.JobName == old, c.State.not_in(sorted(FINAL)), _is_free(new))
    query = sa.select(c.Id, c.Queue, c.Priority, c.DueAt, c.UnknownSince).where(mine)
    rows = (await connection.execute(query.order_by(c.Id).with_for_update())).all()
    if not rows:
        return ()
    among = known.of(connection).among  # they may be more than a statement may have parameters
    taken = sa.update(job_run).where(among(c.Id, [row.Id for row in rows]))
    await connection.execute(taken.values(JobName=new))
    refused = [row for row in rows if row.UnknownSince is not None]
    if refused:
        asked = sa.update(job_run).where(among(c.Id, [row.Id for row in refused]))
        await connection.execute(asked.values(UnknownSince=None, RefusedBy=None))
    return tuple(Waiting(row.Id, row.Queue, row.Priority, row.DueAt) for row in refused)


async def _take_some(
    connection: AsyncConnection,
    key: sa.Column[Any],
    names: tuple[str, str],
    most: int,
    *where: sa.ColumnElement[bool],
) -> int:
    """Give rows of a table, by its key, the new one of two names; how many there were."""
    (new, old), table = names, key.table
    assert isinstance(table, sa.Table)  # the columns are of ours
    query = sa.select(key).where(table.c.JobName == old, *where).order_by(key).limit(most)
    ids = list(await connection.scalars(query))
    if ids:
        await connection.execute(sa.update(table).where(key.in_(ids)).values(JobName=new))
    return len(ids)


async def _take_shadow(connection: AsyncConnection, new: str, old: str) -> None:
    other = job_shadow.alias()
    taken = sa.exists().where(other.c.JobName == new, other.c.Slot == job_shadow.c.Slot)
    await connection.execute(
        sa.update(job_shadow).where(job_shadow.c.JobName == old, ~taken).values(JobName=new)
    )
