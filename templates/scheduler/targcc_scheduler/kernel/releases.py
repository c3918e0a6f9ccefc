"""Releases: choose the deciding release, drain nodes, and take over the rows of renamed jobs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import FINAL, RunState
from ..db.columns import joined_texts
from ..db.dialects import known
from ..db.dialects.frequent import FrequentStatement
from ..db.tables import (
    job_alert,
    job_link,
    job_override,
    job_owner,
    job_release,
    job_run,
    job_schedule,
    job_server,
    job_setting,
    job_shadow,
    job_unique,
    logged_job,
)
from . import statistics
from .dependencies import place_of
from .node.slots import RENAMED
from .runs.eligibility import LOCK, Waiting
from .runs.transition import is_in_state

# Draining: on request, a node claims nothing more until it is resumed.


@dataclass(frozen=True, slots=True)
class Found:
    """A node that a person named."""

    id: str
    name: str
    process_id: int


async def find(connection: AsyncConnection, name: str) -> list[Found]:
    """Return the nodes that a name means: the node with that id or ``NAME:PROCESS``, else all nodes with that name."""
    c = job_server.c
    rows = await connection.execute(sa.select(c.Id, c.Name, c.ProcessId).order_by(c.StartedAt))
    nodes = [Found(*row) for row in rows]
    exact = [node for node in nodes if name in {node.id, f"{node.name}:{node.process_id}"}]
    return exact or [node for node in nodes if node.name == name]


async def drain(connection: AsyncConnection, ids: Sequence[str], by: str, now: datetime) -> None:
    """Let nodes claim nothing after this transaction; an earlier request stays as it is."""
    await connection.execute(
        sa.update(job_server)
        .where(job_server.c.Id.in_(ids), job_server.c.DrainRequestedAt.is_(None))
        .values(DrainRequestedBy=by[:100], DrainRequestedAt=now)
    )


async def resume(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Let nodes claim again."""
    await connection.execute(
        sa.update(job_server)
        .where(job_server.c.Id.in_(ids))
        .values(DrainRequestedBy=None, DrainRequestedAt=None)
    )


async def busy(connection: AsyncConnection, ids: Sequence[str]) -> int:
    """Return the number of running runs of nodes."""
    count = await connection.scalar(
        sa.select(sa.func.count())
        .select_from(job_run)
        .where(is_in_state(RunState.RUNNING), job_run.c.ServerId.in_(ids))
    )
    return int(count or 0)


# Releases: the release that decides about schedules, and the definitions behind each fingerprint.

DEFINITIONS = "definitions "
"""Prefix of the settings that store the definitions behind a fingerprint."""

_KEPT = 50
"""Number of releases that are kept, besides releases that nodes run or a person has chosen."""


@dataclass(frozen=True, slots=True)
class Release:
    """A registered release."""

    name: str
    fingerprint: str
    first_seen_at: datetime
    chosen_by: str | None = None
    chosen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NodeState:
    """Node state that a node writes for other nodes."""

    id: str
    beat_at: datetime
    release: str | None
    fingerprint: str | None
    drain_requested_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """Data that a node presents to the other nodes.

    Args:
        server_id: The node.
        release: The release of the node.
        release_fingerprint: Fingerprint of the jobs in the node's code.
        fingerprint: Fingerprint of all jobs that the node knows.
        jobs: All jobs that the node knows: arguments and schedule by job.
    """

    server_id: str
    release: str
    release_fingerprint: str
    fingerprint: str
    jobs: Mapping[str, tuple[str, str]]


Rank = tuple[float, float, str]
"""Orders releases: a chosen release ranks above all others, and a newer release above an older release."""
LOWEST: Rank = (0.0, 0.0, "")


def rank_of(release: Release) -> Rank:
    """Return the rank of a release."""
    chosen = release.chosen_at.timestamp() if release.chosen_at is not None else 0.0
    return chosen, release.first_seen_at.timestamp(), release.name


def deciding(releases: Collection[Release]) -> Release | None:
    """Return the release that decides about schedules: the release that a person has chosen, else the newest release."""
    return max(releases, key=rank_of, default=None)


_RELEASES = FrequentStatement(
    sa.select(
        job_release.c.Release,
        job_release.c.Fingerprint,
        job_release.c.FirstSeenAt,
        job_release.c.ChosenBy,
        job_release.c.ChosenAt,
    ).order_by(job_release.c.FirstSeenAt.desc(), job_release.c.Release)
)
_CHOSEN_AT = sa.func.coalesce(sa.cast(job_release.c.ChosenAt, sa.Text), "")
MARK = sa.select(
    joined_texts(
        job_release.c.Release + " " + sa.cast(job_release.c.FirstSeenAt, sa.Text) + _CHOSEN_AT
    )
).scalar_subquery()
"""A value that changes with each new release, and when another release may decide."""
_NODES = sa.select(
    job_server.c.Id,
    job_server.c.HeartbeatAt,
    job_server.c.Release,
    job_server.c.Fingerprint,
    job_server.c.DrainRequestedBy,
)


async def load(connection: AsyncConnection) -> list[Release]:
    """Return the releases, newest first."""
    return [Release(*row) for row in await _RELEASES.all(connection, {})]


async def lock(connection: AsyncConnection) -> None:
    """Take the lock under which transactions act on the deciding release, or on the jobs that nodes know."""
    await known.of(connection).lock_job(connection, LOCK)


async def release_ranks(connection: AsyncConnection) -> dict[str, Rank]:
    """Return each release's rank; the ranks hold until the transaction ends."""
    await lock(connection)
    return {release.name: rank_of(release) for release in await load(connection)}


async def node_states(connection: AsyncConnection) -> list[NodeState]:
    """Return the state of every node."""
    return [NodeState(*row) for row in await connection.execute(_NODES)]


async def present(connection: AsyncConnection, node: Presented, now: datetime) -> None:
    """Register the release of a node and its jobs; a release that is seen for the first time is the newest.

    Args:
        connection: A transaction that writes.
        node: The data that the node presents.
        now: The present instant.
    """
    await lock(connection)
    dialect = known.of(connection)
    await connection.execute(
        sa.update(job_server)
        .where(job_server.c.Id == node.server_id)
        .values(Release=node.release, Fingerprint=node.fingerprint)
    )
    release = dialect.insert_ignore(job_release, [job_release.c.Release])
    await connection.execute(
        release.values(Release=node.release, Fingerprint=node.release_fingerprint, FirstSeenAt=now)
    )
    name = f"{DEFINITIONS}{node.fingerprint}"
    if not await connection.scalar(sa.select(sa.exists().where(job_setting.c.Name == name))):
        row = {"Name": name, "Value": json.dumps(node.jobs), "UpdatedAt": now}
        await connection.execute(job_setting.insert().values(row))
        await _prune(connection)


async def renew(connection: AsyncConnection, release: str, now: datetime) -> None:
    """Make a release the newest: it was deployed again."""
    await lock(connection)
    await connection.execute(
        sa.update(job_release).where(job_release.c.Release == release).values(FirstSeenAt=now)
    )


async def choose(connection: AsyncConnection, release: str | None, by: str, now: datetime) -> None:
    """Let a release decide, even if another release is newer.

    ``None`` lets the newest release decide again; its first-seen time becomes ``now``, so that nodes notice.
    """
    await lock(connection)
    await connection.execute(sa.update(job_release).values(ChosenBy=None, ChosenAt=None))
    if release is not None:
        await connection.execute(
            sa.update(job_release)
            .where(job_release.c.Release == release)
            .values(ChosenBy=by[:100], ChosenAt=now)
        )
    elif (newest := deciding(await load(connection))) is not None:
        await renew(connection, newest.name, now)


async def definitions_of(
    connection: AsyncConnection, fingerprints: Collection[str]
) -> dict[str, dict[str, tuple[str, str]]]:
    """Return the definitions behind fingerprints: arguments and schedule by job."""
    names = [f"{DEFINITIONS}{fingerprint}" for fingerprint in fingerprints]
    rows = await connection.execute(
        sa.select(job_setting.c.Name, job_setting.c.Value).where(job_setting.c.Name.in_(names))
    )
    return {
        row.Name.removeprefix(DEFINITIONS): {
            name: (arguments, schedule)
            for name, (arguments, schedule) in json.loads(row.Value).items()
        }
        for row in rows
    }


async def _prune(connection: AsyncConnection) -> None:
    """Delete old releases, and the definitions behind fingerprints that no release or node has any more."""
    releases = await load(connection)
    nodes = await node_states(connection)
    running = {one.release for one in nodes}
    old = [
        one.name for one in releases[_KEPT:] if one.name not in running and one.chosen_at is None
    ]
    if old:
        await connection.execute(sa.delete(job_release).where(job_release.c.Release.in_(old)))
    kept = {one.fingerprint for one in releases if one.name not in old}
    kept |= {one.fingerprint for one in nodes if one.fingerprint}
    await connection.execute(
        sa.delete(job_setting).where(
            job_setting.c.Name.startswith(DEFINITIONS),
            job_setting.c.Name.not_in([f"{DEFINITIONS}{one}" for one in kept]),
        )
    )


# Renaming: a job takes over the rows under its former name.
#
# Rows that decide about the job's runs move at once, in one transaction: schedule and pause, owner, alerts, overrides, unique keys, and the
# runs that are not over. History follows in short steps. Nodes of an older release still know the old name. The schedule row under the old
# name stays, says that the job was renamed, and belongs to the newer release, so that these nodes create no slots. The nodes end the runs
# that they have.

_Row = Any
_HAS_WAITING = sa.select(job_run.c.Id).where(job_run.c.State.not_in(sorted(FINAL))).limit(1)


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows that a job has taken over.

    Args:
        schedule: Whether the job took over schedule and pause.
        refused: Runs that waited for a node that knows the old name.
    """

    schedule: bool = False
    refused: tuple[Waiting, ...] = ()


async def is_left(connection: AsyncConnection, new: str, old: str) -> bool:
    """Return whether rows that decide about runs are left under an old name, or the new name is held until the old name is gone."""
    schedule = sa.select(job_schedule.c.JobName).where(sa.or_(_is_live(old), _is_held(new, old)))
    alerts = sa.select(job_alert.c.JobName).where(job_alert.c.JobName == old)
    owner = sa.select(job_owner.c.JobName).where(job_owner.c.JobName == old)
    override = sa.select(job_override.c.JobName).where(job_override.c.JobName == old).limit(1)
    runs = _HAS_WAITING.where(job_run.c.JobName == old)
    keys = sa.select(job_unique.c.RunId).where(_is_key_of(new, old)).limit(1)
    queries = (schedule, alerts, owner, override, runs, keys, _places_of(old))
    values = [await connection.scalar(one) for one in queries]
    return any(one is not None for one in values)


async def take_over(connection: AsyncConnection, new: str, old: str, release: str) -> Taken:
    """Move the rows that decide about the runs of ``old`` to the job ``new``, in a transaction that writes.

    While the deciding release has the job under its old name, nothing moves and the new name gets no slots.

    Args:
        connection: The transaction.
        new: The job.
        old: A former name of the job.
        release: The release of this node.
    """
    ranks = await release_ranks(connection)  # takes the lock: one node at a time
    rows = await _schedules(connection, new, old)
    before, now = rows.get(old), rows.get(new)
    live = before is not None and not (before.ScheduleText or "").startswith(RENAMED)
    if before is not None and live:
        if ranks.get(before.Release or "", LOWEST) > ranks.get(release, LOWEST):
            await _hold(connection, new, old, before, now)
            return Taken()
        await _take_schedule(connection, new, before, now, release)
    else:  # the old name has no schedule any more: the new name starts from now
        held = sa.update(job_schedule).where(_is_held(new, old))
        await connection.execute(held.values(ScheduleText=None, LastSlot=None, Release=None))
    await _take_alone(connection, job_alert.c.JobName, new, old)
    await _take_alone(connection, job_owner.c.JobName, new, old)
    await _take_alone(connection, job_override.c.JobName, new, old)
    refused = await _take_waiting(connection, new, old)  # lock order: runs before keys
    await connection.execute(sa.update(job_unique).where(_is_key_of(new, old)).values(JobName=new))
    await _take_places(connection, new, old)
    return Taken(live, refused)


async def take_history(connection: AsyncConnection, new: str, old: str, most: int) -> bool:
    """Move up to ``most`` rows of each kind of history from an old name to a job; return whether there may be more.

    The audit stays as it was written.
    """
    await lock(connection)
    names = (new, old)
    moved = [
        await _take_some(connection, logged_job.c.ID, names, most),
        await _take_some(connection, job_run.c.Id, names, most, _is_free(new), _IS_OVER),
        await statistics.rename(connection, new, old, most=most),
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
    """Condition: the job has no run of the same slot, since a slot has one run."""
    other = job_run.alias()
    return sa.or_(
        job_run.c.ScheduledFor.is_(None),
        ~sa.exists().where(other.c.JobName == new, other.c.ScheduledFor == job_run.c.ScheduledFor),
    )


async def _schedules(connection: AsyncConnection, *names: str) -> Mapping[str, _Row]:
    """Lock and return the schedule rows of jobs; no slot of these jobs becomes a run until the transaction ends."""
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
    # Pause and reason stay: an older release that comes back finds the job as it was.
    await connection.execute(
        sa.update(job_schedule)
        .where(job_schedule.c.JobName == before.JobName)
        .values(ScheduleText=f"{RENAMED}{new}", LastSlot=None, Release=release)
    )


def _is_newer(before: _Row, now: _Row) -> bool:
    """Return whether the old name was in use after the new name, because an older release was deployed again meanwhile."""
    if (now.ScheduleText or "").startswith(RENAMED) or now.LastSlot is None:
        return before.LastSlot is not None or now.PausedAt is None
    return before.LastSlot is not None and before.LastSlot > now.LastSlot


async def _hold(
    connection: AsyncConnection, new: str, old: str, before: _Row, now: _Row | None
) -> None:
    """Give the new name no slots while the old name has them."""
    text = f"{RENAMED}{old}"
    values = {"ScheduleText": text, "LastSlot": None, "Release": before.Release}
    if now is None:
        await connection.execute(job_schedule.insert().values(JobName=new, **values))
    elif (now.ScheduleText, now.Release) != (text, before.Release):
        await connection.execute(
            sa.update(job_schedule).where(job_schedule.c.JobName == new).values(values)
        )


def _is_key_of(new: str, old: str) -> sa.ColumnElement[bool]:
    """Condition: a row has a unique key under the old name, and no row has that key under the new name."""
    other = job_unique.alias()
    taken = sa.exists().where(other.c.JobName == new, other.c.UniqueKey == job_unique.c.UniqueKey)
    return sa.and_(job_unique.c.JobName == old, ~taken)


def _places_of(job: str) -> sa.Select[tuple[int]]:
    """Select the runs that wait for a future run of a job."""
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
    """Move a job's only row in a table to the new name, unless the new name has a row."""
    table = column.table
    assert isinstance(table, sa.Table)  # columns of our own tables
    if await connection.scalar(sa.select(column).where(column == new)) is None:
        await connection.execute(sa.update(table).where(column == old).values(JobName=new))


async def _take_waiting(connection: AsyncConnection, new: str, old: str) -> tuple[Waiting, ...]:
    c = job_run.c
    condition = sa.and_(c.JobName == old, c.State.not_in(sorted(FINAL)), _is_free(new))
    query = sa.select(c.Id, c.Queue, c.Priority, c.DueAt, c.UnknownSince).where(condition)
    rows = (await connection.execute(query.order_by(c.Id).with_for_update())).all()
    if not rows:
        return ()
    among = known.of(connection).among  # there may be more ids than a statement may have parameters
    taken = sa.update(job_run).where(among(c.Id, [row.Id for row in rows]))
    await connection.execute(taken.values(JobName=new))
    refused = [row for row in rows if row.UnknownSince is not None]
    if refused:
        update = sa.update(job_run).where(among(c.Id, [row.Id for row in refused]))
        await connection.execute(update.values(UnknownSince=None, RefusedBy=None))
    return tuple(Waiting(row.Id, row.Queue, row.Priority, row.DueAt) for row in refused)


async def _take_some(
    connection: AsyncConnection,
    key: sa.Column[Any],
    names: tuple[str, str],
    most: int,
    *where: sa.ColumnElement[bool],
) -> int:
    """Move up to ``most`` rows of the table of ``key`` from the old name to the new name; return the number of rows."""
    (new, old), table = names, key.table
    assert isinstance(table, sa.Table)  # columns of our own tables
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
