"""Poll all subjects that a node watches, in one statement: an idle node waits for one answer instead of a dozen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..db.dialects.frequent import FrequentStatement
from ..db.tables import job_server
from . import job_owner as owners
from . import releases
from . import text_index as index_keeper
from .feature import Change, load, parts
from .node import nodes
from .node.nodes import Beat
from .releases import NodeState
from .runs import eligibility

Mark = Any
"""A value that differs from its predecessor when the subject has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollResult:
    """Result of one poll.

    Args:
        at: When the poll began, by ``time.monotonic``.
        beats: The latest heartbeat of each node.
        nodes: The state of each node, as the node wrote it.
        orphans: Whether a running run belongs to a node that does not exist.
        running: Whether any run is running.
        waiting: Whether any run waits, including runs that are not due yet.
        releases: Mark of the releases.
        unknown: Whether runs wait for a node that knows their job.
        owners: Mark of the job owners.
        texts: Whether texts wait to be indexed, or messages wait to be sent to webhooks.
        marks: Marks of the features, by the names of their ``Change`` parts.
    """

    at: float
    beats: tuple[Beat, ...]
    nodes: tuple[NodeState, ...]
    orphans: bool
    running: bool
    waiting: bool
    releases: Mark
    unknown: bool
    owners: Mark
    texts: bool
    marks: Mapping[str, Mark]


_SERVER = job_server.c
_ONE = sa.select(sa.literal_column("1").label("one")).subquery()


@cache
def _poll() -> tuple[FrequentStatement, tuple[str, ...]]:
    """Build the statement of all polls, with the names of the features' marks.

    The statement returns a row for each node, or one row if there is no node; marks do not depend on the node and are computed once.
    """
    statement = sa.select(
        nodes.ORPHANS.label("orphans"),
        nodes.RUNNING.label("running"),
        nodes.WAITING_RUNS.label("waiting"),
        releases.MARK.label("releases"),
        eligibility.ARE_UNKNOWN.label("unknown"),
        *(part.label(f"owners_{number}") for number, part in enumerate(owners.MARKS)),
        index_keeper.WAITS.label("texts"),
        *(mark.label(f"mark_{number}") for number, mark in enumerate(load(Change))),
        _SERVER.Id,
        _SERVER.ProcessId,
        _SERVER.HeartbeatAt,
        _SERVER.StuckIn,
        _SERVER.Release,
        _SERVER.Fingerprint,
        _SERVER.DrainRequestedBy,
    ).select_from(_ONE.outerjoin(job_server, sa.true()))
    return FrequentStatement(statement), tuple(part.name for _, part in parts(Change))


async def see(connection: AsyncConnection) -> PollResult:
    """Poll all subjects."""
    at = time.monotonic()
    statement, names = _poll()
    rows = await statement.all(connection, {})
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
        releases=first.releases,
        unknown=bool(first.unknown),
        owners=(first.owners_0, first.owners_1, first.owners_2),
        texts=bool(first.texts),
        marks={name: getattr(first, f"mark_{number}") for number, name in enumerate(names)},
    )
