"""Reading releases: which one decides, which nodes run which, and in what their jobs differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import WAITING
from ..storage.deploy import releases as rows
from ..storage.tables import job_run
from . import system
from .models import Server

_MOST_SHOWN = 20
Jobs = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release whose nodes have registered.

    Args:
        decides: Whether its schedules hold.
        servers: The nodes that run it, by name and process.
        differences: In what the jobs of its nodes differ from those of the release that decides; the first of them, if there are many.
    """

    name: str
    first_seen_at: datetime
    chosen_by: str | None
    chosen_at: datetime | None
    decides: bool
    servers: tuple[str, ...]
    differences: tuple[str, ...]


async def releases(connection: AsyncConnection) -> tuple[Release, ...]:
    """The releases, newest first."""
    known = await rows.load(connection)
    first = rows.deciding(known)
    servers = await system.servers(connection)
    stands_for = await rows.definitions_of(
        connection, {one.fingerprint for one in servers if one.fingerprint}
    )
    holds = _jobs_of(first.name, servers, stands_for) if first is not None else None
    return tuple(
        Release(
            name=one.name,
            first_seen_at=one.first_seen_at,
            chosen_by=one.chosen_by,
            chosen_at=one.chosen_at,
            decides=one == first,
            servers=tuple(
                f"{server.name}:{server.process_id}"
                for server in servers
                if server.release == one.name
            ),
            differences=(
                ()
                if one == first or holds is None
                else _differences(holds, _jobs_of(one.name, servers, stands_for))
            ),
        )
        for one in known
    )


async def count_unknown(connection: AsyncConnection) -> dict[str, int]:
    """How many runs wait for a node that knows them, by job."""
    c = job_run.c
    found = await connection.execute(
        sa.select(c.JobName, sa.func.count())
        .where(c.UnknownSince.is_not(None), c.State.in_(sorted(WAITING)))
        .group_by(c.JobName)
        .order_by(c.JobName)
    )
    return {row[0]: row[1] for row in found}


def _jobs_of(
    release: str, servers: Iterable[Server], stands_for: Mapping[str, Jobs]
) -> Jobs | None:
    """What the first of the nodes of a release knows; ``None``: none is up."""
    for server in servers:
        if server.release == release and (server.fingerprint or "") in stands_for:
            return stands_for[server.fingerprint or ""]
    return None


def _differences(holds: Jobs, other: Jobs | None) -> tuple[str, ...]:
    if other is None:
        return ()
    found = [line for name in sorted({*holds, *other}) for line in _of_job(name, holds, other)]
    if len(found) > _MOST_SHOWN:
        found[_MOST_SHOWN:] = [f"and {len(found) - _MOST_SHOWN} more"]
    return tuple(found)


def _of_job(name: str, holds: Jobs, other: Jobs) -> list[str]:
    if name not in holds:
        return [f"{name} is only here"]
    if name not in other:
        return [f"{name} is not here"]
    (arguments, schedule), (other_arguments, other_schedule) = holds[name], other[name]
    lines = [f"{name} has other arguments"] if arguments != other_arguments else []
    if schedule != other_schedule:
        lines.append(f"{name} runs by {other_schedule or 'no schedule'}, not {schedule or 'any'}")
    return lines
