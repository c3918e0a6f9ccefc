"""Claims and limits: a run that finds capacity under its key begins, and a run that finds none waits for capacity.

Until a claim meets the run, a run of a limit waits for a worker like any other run. The claim locks the key, counts the capacity that the
runs of the key take, and lets the run begin if there is capacity and no run waits for the key. Otherwise the run asks for capacity: the
run is ``awaiting`` from then on, and a transaction that ends a run of the key admits the next waiting run (``kernel/limits.py``). When a run
asks, :func:`look_ahead` also decides about the runs that follow in the queue, since many may have the same few keys: a claim
for each run would cost more than one decision about all of these runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.outage import is_held_up
from ..core.states import RunState
from ..db.columns import UtcDateTime
from ..db.dialects import known
from ..db.dialects.frequent import FrequentStatement, is_among, is_in_list, listed
from ..db.tables import job_limit, job_run
from . import limit_renames, limits
from .jobs.options import LimitPolicy
from .limits import Capacity
from .runs.transition import OTHER, state_line, transition
from .runs.values import Ready, Tie, is_mark

_FIRST, _MOST_AHEAD = 5_000, 1_000
"""Sizes of a look-ahead after a claim met runs without capacity.

The first number is how many runs at the head of the queue are searched for runs that need capacity, the second how many of the found runs
are decided.
"""
_MOST_ROUNDS = 3
"""Maximum number of times that a claim lets runs ask and looks for other runs; after that, the next claim goes on."""

Row = Any
"""A row of ``c_JobRun``: its columns by name."""
T = TypeVar("T")

_r, _other = job_run.c, OTHER.c
_first = (
    sa.select(_r.Id)
    .where(_r.State == RunState.ENQUEUED, _r.Queue == sa.bindparam("queue", type_=sa.Text))
    .order_by(_r.Priority.desc(), _r.DueAt, _r.Id)
    .limit(sa.literal_column(str(_FIRST)))
    .scalar_subquery()
)
_AHEAD = FrequentStatement(
    sa.select(
        *(_other[name] for name in ("Id", "State", "JobName", "Queue", "Priority")),
        *(_other[name] for name in ("Attempt", "LimitKey", "Weight", "RoomAt")),
    )
    .where(
        is_in_list(_other.Id, _first),
        _other.State == limits.hidden(RunState.ENQUEUED),  # still so after the lock
        _other.LimitKey.is_not(None),
        _other.RoomAt.is_(None),
        _other.RefusedBy.is_(None),
        sa.or_(
            _other.ExpiresAt.is_(None),
            _other.ExpiresAt > sa.bindparam("now", type_=UtcDateTime),
            _other.Attempt > 0,
        ),
        # Keep the planner from an index: until statistics show that the table has grown, it would read all runs of these jobs.
        is_among(sa.func.coalesce(_other.JobName, ""), listed("jobs", sa.Text)),
    )
    .order_by(_other.Priority.desc(), _other.DueAt, _other.Id)
    .limit(sa.literal_column(str(_MOST_AHEAD)))
    .with_for_update(of=OTHER, skip_locked=True)
)
_ASKS = _r.Ties.op("|")(sa.literal_column(str(int(Tie.ASKS))))
_IDS = is_among(_r.Id, listed("ids", sa.BigInteger))
_KEEP = FrequentStatement(sa.update(job_run).where(_IDS).values(**limits.HAS_ROOM, Ties=_ASKS))
_ASK = FrequentStatement(
    transition(
        RunState.AWAITING,
        _IDS,
        sources=(RunState.ENQUEUED, RunState.SCHEDULED, RunState.RETRYING),
        Ties=_ASKS,
    )
)


class KeyCapacities:
    """Capacity left of the keys of the runs that a claim looks at.

    No other transaction gives capacity of these keys until the transaction of the claim ends.

    Args:
        terms: The policies of the jobs that this node knows.
        now: The present instant.
    """

    def __init__(self, terms: Mapping[str, LimitPolicy], now: datetime) -> None:
        self._terms = terms
        self._now = now
        self._keys: dict[int, str] = {}
        """Limit keys of the runs that need capacity, by run id."""
        self._rooms: dict[str, Capacity] = {}
        self._given: set[str] = set()
        self._unknown: set[str] = set()
        """New keys, which no other transaction sees yet."""
        self._closed: set[str] = set()
        """Keys that a run waits for now."""
        self._asking: dict[int, Row] = {}
        self._rounds = 0
        self.crowded: set[str] = set()
        """The queues in which runs found no capacity."""

    async def look(
        self, connection: AsyncConnection, rows: Collection[Row], *, waits: bool = True
    ) -> None:
        """Lock the keys of runs that need capacity, and compute the capacity left.

        With ``waits``, wait a moment for keys that another transaction has locked.
        """
        new = [row for row in rows if _needs_room(row) and row.Id not in self._keys]
        if not new:
            return
        keys, begins = await limit_renames.keys_of(connection, new, self._terms)
        self._keys |= keys
        names = {keys[row.Id]: row.JobName for row in new}
        unseen = {key: name for key, name in names.items() if key not in self._rooms}
        if not unseen:
            return
        limits_ = await self._held(connection, self._new(unseen, begins), waits=waits)
        self._rooms |= await limits.capacities(connection, limits_, self._now)

    def is_held_up(self, row: Row) -> bool:
        """Return whether another transaction holds the key of a run, so that the capacity left is unknown."""
        return _needs_room(row) and self._keys[row.Id] not in self._rooms

    def take(self, row: Row) -> bool:
        """Take capacity for a run if the run needs some; return ``False`` if there is none, and note that the run is to ask."""
        if not _needs_room(row):
            return True
        key = self._keys[row.Id]
        room = self._rooms[key]
        is_free = key not in self._closed and (room.limit.Id is None or _is_next(row, room.limit))
        if is_free and room.take(row.Weight):
            self._given.add(key)
            if room.limit.Id is not None:
                self._closed.add(key)  # the next waiting run is to wait for a token, too
            return True
        self._closed.add(key)  # lighter runs behind this run wait, too
        self._asking[row.Id] = row
        return False

    @property
    def more(self) -> bool:
        """Whether this claim may look for other runs in place of the runs that asked."""
        return self._rounds < _MOST_ROUNDS

    async def ask(self, connection: AsyncConnection) -> None:
        """Let the runs that found no capacity wait for capacity."""
        if not self._asking:
            return
        self._rounds += 1
        self.crowded.update(row.Queue for row in self._asking.values())
        keys = sorted({self._keys[run_id] for run_id in self._asking})
        line = state_line(self._now, RunState.AWAITING, "waits for room")
        await _ASK.counts(connection, [{"ids": sorted(self._asking), "line": line}])
        unknown = [key for key in keys if not self._rooms[key].limit.IsAwaited]
        if unknown:
            await limits.IS_AWAITED.counts(connection, [{"keys": unknown}])
        self._asking.clear()

    async def close(self, connection: AsyncConnection) -> Sequence[Ready]:
        """Record the capacity that this claim gave, and admit runs that waited for the same keys before.

        Returns:
            The admitted runs.
        """
        counted = {key: self._rooms[key] for key in self._given}
        if counted:
            await limits.given(connection, counted, uncounted=self._unknown)
        may_have_room = [
            key
            for key in sorted(self._closed)
            if (room := self._rooms[key]).limit.IntervalMs is not None
            or (room.limit.Id is not None and room.count)
        ]
        return await limits.admit_held(connection, may_have_room, self._now)

    async def _held(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], *, waits: bool
    ) -> Mapping[str, Row]:
        """Return the limit rows, creating missing ones; skip rows that another transaction has locked."""
        keys = [row["LimitKey"] for row in rows]
        if not known.of(connection).many_writers:
            limit_rows = await limits.look(connection, keys)
            if len(limit_rows) == len(keys):
                return limit_rows
            new = [row for row in rows if row["LimitKey"] not in limit_rows]
            await connection.execute(sa.insert(job_limit), new)
            return await limits.look(connection, keys)
        # Waiting for another transaction's keys while holding new keys could deadlock: that transaction may wait for the new keys.
        locked_keys = await (self._add_briefly if self._unknown else limits.hold)(connection, rows)
        held = set(locked_keys)
        self._unknown |= {key for key, is_new in locked_keys.items() if is_new}
        if waits and len(held) < len(keys):
            held.update(await _hold_briefly(connection, set(keys) - held))
        return await limits.look(connection, sorted(held))

    async def _add_briefly(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, bool]:
        locked_keys = await _briefly(connection, lambda: limits.hold(connection, rows))
        if locked_keys is not None:
            return locked_keys
        keys = [row["LimitKey"] for row in rows]
        return dict.fromkeys(await limits.lock(connection, keys, waits=False), False)

    def _new(self, unseen: Mapping[str, str], begins: Mapping[str, str]) -> list[dict[str, Any]]:
        """Build the rows of keys, in lock order."""
        return [
            {"LimitKey": key, "JobName": begins[job], "UpdatedAt": self._now}
            | self._terms.get(job, LimitPolicy()).values
            for key, job in sorted(unseen.items())
        ]


async def look_ahead(
    connection: AsyncConnection, queue: str, terms: Mapping[str, LimitPolicy], now: datetime
) -> Sequence[Ready]:
    """Decide together about the next runs of a queue that need capacity.

    A run that finds capacity keeps the capacity until a claim meets the run. The other runs wait for capacity.

    Args:
        connection: A transaction of its own: a transaction that holds keys locks no other keys.
        queue: A queue in which runs found no capacity.
        terms: The policies of the jobs that this node knows.
        now: The present instant.

    Returns:
        The admitted runs among the runs that waited before.
    """
    keys = KeyCapacities(terms, now)
    rows = await _AHEAD.all(connection, {"queue": queue, "now": now, "jobs": list(terms)})
    await keys.look(connection, rows, waits=False)
    kept = [row.Id for row in rows if not keys.is_held_up(row) and keys.take(row)]
    if kept:
        await _KEEP.counts(connection, [{"ids": kept, "now": now}])
    await keys.ask(connection)
    return await keys.close(connection)


def _needs_room(row: Row) -> bool:
    keeps_room = row.State == RunState.ENQUEUED and row.RoomAt is not None
    return row.LimitKey is not None and not keeps_room and not is_mark(row.LimitKey)


def _is_next(row: Row, limit: Row) -> bool:
    """Return whether a run is the run that waited for the next token, and no more urgent run has come since.

    That run was the most urgent waiting run when it began to wait for the token.
    """
    # The woken run may have begun since, and be a retry.
    is_woken = row.Id == limit.WakeId and row.Attempt == 0
    return bool(is_woken and row.Priority >= limit.Priority)


async def _hold_briefly(connection: AsyncConnection, keys: Collection[str]) -> Sequence[str]:
    """Lock keys, waiting a moment for other transactions; skip keys that a long transaction holds."""
    locked_keys = await _briefly(connection, lambda: limits.lock(connection, keys))
    return await limits.lock(connection, keys, waits=False) if locked_keys is None else locked_keys


async def _briefly(connection: AsyncConnection, work: Callable[[], Awaitable[T]]) -> T | None:
    """Run work that waits at most a moment for locks of other transactions.

    Returns:
        The result of the work; ``None`` if the moment was too short, and the work was rolled back.
    """
    dialect = known.of(connection)
    try:
        async with connection.begin_nested():
            if dialect.wait_briefly is not None:
                await connection.execute(dialect.wait_briefly)
            result = await work()
            if dialect.wait_on is not None:
                await connection.execute(dialect.wait_on)
            return result
    except DBAPIError as error:
        if not is_held_up(error):
            raise
    return None
