"""Poll the database for changes: all waiting callers share a poll of one statement, which begins at the earliest requested time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.clock import together
from ..db.dialects.frequent import FrequentStatement
from ..db.tables import job_server
from ..db.transactions import Store
from . import job_owner, releases, text_index
from .feature import Change, load, parts
from .node import nodes
from .node.nodes import Beat
from .releases import NodeState
from .runs import eligibility

# Poll all subjects that a node watches, in one statement: an idle node waits for one answer instead of a dozen.

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
        *(part.label(f"owners_{number}") for number, part in enumerate(job_owner.MARKS)),
        text_index.WAITS.label("texts"),
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


# Poll the database for changes: all waiting callers share a poll, which begins at the earliest requested time.

_ENDS_SECONDS = 1.0
_LONGEST_POLL_SECONDS = 3.0
_FEW = 5
"""Number of nodes up to which intervals stay as they are."""


def spread(seconds: float, nodes: int, longest: float) -> float:
    """Return an interval for a number of nodes: beyond five nodes, in proportion to the nodes, at most ``longest``.

    Each node's load on the database falls with the number of nodes, so that hundreds of idle nodes do not keep the database busy.
    """
    return max(seconds, min(seconds * nodes / _FEW, longest))


def poller_of(store: Store) -> Poller:
    """Return the poller of a database, which all waiting callers share."""
    return store.own(_make)


class Poller:
    """Polls of a database. For use on a single event loop.

    Args:
        read: Provide a connection.
    """

    def __init__(self, read: Callable[[], AbstractAsyncContextManager[AsyncConnection]]) -> None:
        self._read = read
        self._next: asyncio.Future[PollResult] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looking: set[asyncio.Task[None]] = set()
        self._nodes = 1

    async def look(self) -> PollResult:
        """Poll now, for the caller alone.

        Raises:
            sqlalchemy.exc.DBAPIError: The database is unavailable.
            DatabaseReplaced: The database is another.
        """
        async with self._read() as connection:
            result = await see(connection)
        self._nodes = len(result.beats)
        return result

    def spread(self, seconds: float, longest: float) -> float:
        """Return an interval for the number of nodes that the last poll saw; see :func:`spread`."""
        return spread(seconds, self._nodes, longest)

    async def next(self, within: float) -> PollResult:
        """Return the result of the next poll; raise the errors of :meth:`look`.

        Args:
            within: Seconds until the poll begins at the latest; longer with many nodes, at most :data:`_LONGEST_POLL_SECONDS`.
        """
        within = self.spread(within, _LONGEST_POLL_SECONDS)
        loop = asyncio.get_running_loop()
        if self._next is None:
            self._next = loop.create_future()
        self._look_at(loop.time() + together(within))
        return await asyncio.shield(self._next)

    def hurry(self) -> None:
        """Start the next poll at once, if a caller waits for a poll."""
        if self._next is not None:
            self._look_at(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Stop polling. A poll under way has 1 s to end by itself, because cancelling a poll would lose its connection."""
        if self._timer is not None:
            self._timer.cancel()
        if self._next is not None:
            self._next.cancel()
        self._next = self._timer = None
        if looking := list(self._looking):
            _, hanging = await asyncio.wait(looking, timeout=_ENDS_SECONDS)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)

    def _look_at(self, instant: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= instant:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(instant, self._begin)

    def _begin(self) -> None:
        future, self._next, self._timer = self._next, None, None
        assert future is not None
        task = asyncio.create_task(self._answer(future), name="targcc look")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _answer(self, reply: asyncio.Future[PollResult]) -> None:
        try:
            reply.set_result(await self.look())
        except asyncio.CancelledError:
            reply.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - each of those who wait deals with it
            reply.set_exception(error)
            with contextlib.suppress(Exception):
                reply.exception()  # mark as retrieved: all callers may have left


def _make(store: Store) -> Poller:
    return Poller(store.read)
