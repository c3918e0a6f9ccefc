"""What is looked for every few seconds, in one statement: a node that is idle waits for one answer instead of a dozen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..db.dialects.frequent import FrequentStatement
from ..db.tables import job_server
from ..features.alerts import model as alert_model
from ..features.audit import chain
from ..features.legacy import owners
from ..features.overrides import rows as override_rows
from ..features.search import index_keeper
from ..features.triage import bulk
from . import releases
from .node import nodes
from .node.nodes import Beat
from .releases import NodeState
from .runs import eligibility

Mark = Any
"""What a subject was like: another value when something has changed there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollResult:
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
        texts: Whether texts wait for their index, or messages for webhooks.
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
        alert_model.MARK.label("alerts"),
        releases.MARK.label("releases"),
        eligibility.ARE_UNKNOWN.label("unknown"),
        *(part.label(f"owners_{number}") for number, part in enumerate(owners.MARKS)),
        override_rows.MARK.label("overrides"),
        bulk.GOES_ON.label("bulk"),
        index_keeper.WAITS.label("texts"),
        chain.IS_UNSEALED.label("unsealed"),
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


async def see(connection: AsyncConnection) -> PollResult:
    """Look at all of it."""
    at = time.monotonic()
    rows = await _LOOK.all(connection, {})
    first = rows[0]
    servers = [row for row in rows if row.Id is not None]
    return PollResult(
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
