"""Releases: whose definitions decide about schedules, and what each fingerprint stands for."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..dialects import known
from ..dialects.frequent import FrequentStatement
from ..runs.refuse import LOCK
from ..tables import job_release, job_server, job_setting

DEFINITIONS = "definitions "
"""How the names of settings begin that keep what a fingerprint stands for."""

_KEPT = 50
"""So many releases are kept, and those that nodes run."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release whose nodes have registered."""

    name: str
    fingerprint: str
    first_seen_at: datetime
    chosen_by: str | None = None
    chosen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a node says of itself, for the others to act on."""

    id: str
    beat_at: datetime
    release: str | None
    fingerprint: str | None
    drain_requested_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What a node tells the others of itself.

    Args:
        server_id: The node.
        release: Its release.
        release_fingerprint: Stands for the jobs that are in its code.
        fingerprint: Stands for all jobs that it knows.
        jobs: These: arguments and schedule by job.
    """

    server_id: str
    release: str
    release_fingerprint: str
    fingerprint: str
    jobs: Mapping[str, tuple[str, str]]


Rank = tuple[float, float, str]
"""Orders releases: a chosen one goes before all others, then the newer goes before the older."""
LOWEST: Rank = (0.0, 0.0, "")


def rank_of(release: Release) -> Rank:
    """The rank of a release."""
    chosen = release.chosen_at.timestamp() if release.chosen_at is not None else 0.0
    return chosen, release.first_seen_at.timestamp(), release.name


def deciding(releases: Collection[Release]) -> Release | None:
    """The release whose schedules hold: the one that a person has chosen, else the newest."""
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
    sa.func.aggregate_strings(
        job_release.c.Release + " " + sa.cast(job_release.c.FirstSeenAt, sa.Text) + _CHOSEN_AT, ","
    )
).scalar_subquery()
"""Another value when there is another release, or another may decide."""
_NODES = sa.select(
    job_server.c.Id,
    job_server.c.HeartbeatAt,
    job_server.c.Release,
    job_server.c.Fingerprint,
    job_server.c.DrainRequestedBy,
)


async def load(connection: AsyncConnection) -> list[Release]:
    """The releases, newest first."""
    return [Release(*row) for row in await _RELEASES.all(connection, {})]


async def lock(connection: AsyncConnection) -> None:
    """Let one transaction at a time act on which release decides, or on what nodes know."""
    await known.of(connection).lock_job(connection, LOCK)


async def ranks(connection: AsyncConnection) -> dict[str, Rank]:
    """The rank of each release; it holds until the transaction ends."""
    await lock(connection)
    return {one.name: rank_of(one) for one in await load(connection)}


async def node_states(connection: AsyncConnection) -> list[NodeState]:
    """What every node says of itself."""
    return [NodeState(*row) for row in await connection.execute(_NODES)]


async def present(connection: AsyncConnection, node: Presented, now: datetime) -> None:
    """Let the others know which release a node runs and what it knows; a release that is seen for the first time is the newest.

    Args:
        connection: A transaction that writes.
        node: What it tells.
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
    """Let a release decide, whichever is newer; ``None``: let the newest decide again, from now on, so that its nodes notice."""
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
    """What fingerprints stand for: arguments and schedule by job."""
    names = [f"{DEFINITIONS}{one}" for one in fingerprints]
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
    """Forget releases of long ago, and what fingerprints stood for that nobody has any more."""
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
