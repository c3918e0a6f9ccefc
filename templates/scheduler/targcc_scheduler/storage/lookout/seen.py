"""What is looked for every few seconds, in one statement: a node that is idle waits for one answer instead of a dozen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from .. import nodes
from ..alerts import admission as alerts
from ..bulk import rows as bulk
from ..deploy import releases
from ..deploy.releases import NodeState
from ..dialects.frequent import FrequentStatement
from ..nodes import Beat
from ..overrides import rows as overrides
from ..owners import rows as owners
from ..runs import refuse
from ..tables import job_server
from ..texts import keeping
from ..trail import seal

Mark = Any
"""What a subject was like: another value when something has changed there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look has found.

    Args:
        at: When it began, by ``time.monotonic``.
        beats: What each node said last.
        nodes: What each node says of itself.
        orphans: Whether a running run belongs to a node that does not exist.
        running: Whether any run is running.
        waiting: Whether any run waits, perhaps for its time.
        alerts: Which jobs have rules.
        releases: Which releases there are.
        unknown: Whether runs wait for a node that knows them.
        owners: Who runs the jobs.
        overrides: What people have changed of jobs.
        bulk: Whether an operation on many runs goes on.
        texts: Whether texts wait for their index.
        unsealed: Whether a row of the audit has no place in its chain.
    """

    at: float
    beats: tuple[Beat, ...]
    nodes: tuple[NodeState, ...]
    orphans: bool
    running: bool
    waiting: bool
    alerts: Mark
    releases: Mark
    unknown: bool
    owners: Mark
    overrides: Mark
    bulk: bool
    texts: bool
    unsealed: bool


_SERVER = job_server.c
_ONE = sa.select(sa.literal_column("1").label("one")).subquery()
_LOOK = FrequentStatement(
    sa.select(
        nodes.ORPHANS.label("orphans"),
        nodes.RUNNING.label("running"),
        nodes.WAITING_RUNS.label("waiting"),
        alerts.MARK.label("alerts"),
        releases.MARK.label("releases"),
        refuse.ARE_UNKNOWN.label("unknown"),
        *(part.label(f"owners_{number}") for number, part in enumerate(owners.MARKS)),
        overrides.MARK.label("overrides"),
        bulk.GOES_ON.label("bulk"),
        keeping.WAITS.label("texts"),
        seal.IS_UNSEALED.label("unsealed"),
        _SERVER.Id,
        _SERVER.ProcessId,
        _SERVER.HeartbeatAt,
        _SERVER.StuckIn,
        _SERVER.Release,
        _SERVER.Fingerprint,
        _SERVER.DrainRequestedBy,
    ).select_from(_ONE.outerjoin(job_server, sa.true()))
)
"""A row for each node, or one if there is none; the marks, which do not depend on the node, are found once."""


async def see(connection: AsyncConnection) -> Seen:
    """Look at all of it."""
    at = time.monotonic()
    rows = await _LOOK.all(connection, {})
    first = rows[0]
    servers = [row for row in rows if row.Id is not None]
    return Seen(
        at=at,
        beats=tuple(
            Beat(row.Id, row.ProcessId, row.HeartbeatAt, stuck_in=row.StuckIn) for row in servers
        ),
        nodes=tuple(
            NodeState(row.Id, row.HeartbeatAt, row.Release, row.Fingerprint, row.DrainRequestedBy)
            for row in servers
        ),
        orphans=bool(first.orphans),
        running=bool(first.running),
        waiting=bool(first.waiting),
        alerts=first.alerts,
        releases=first.releases,
        unknown=bool(first.unknown),
        owners=(first.owners_0, first.owners_1, first.owners_2),
        overrides=first.overrides,
        bulk=bool(first.bulk),
        texts=bool(first.texts),
        unsealed=bool(first.unsealed),
    )
