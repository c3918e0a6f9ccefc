"""Claims and limits: a run that finds room under its key begins, and one that finds none waits for it.

Until a claim comes to it, a run of a limit waits for a worker as any other does. The claim keeps others from its key, counts what the runs of the key take, and lets it
begin if there is room for it and nobody waits for the key. Else it asks for room: it is ``awaiting`` from then on, and who ends a run of the key lets the next of those
that ask go (``..limits``). Where one asks, :func:`look_ahead` decides about those that come after it in its queue, too, since many may be of the same few keys: a claim each
would cost more than all of them together.
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
from .effects import Ready
from .jobs.limits import LimitPolicy
from .limits import Capacity
from .runs.transition import OTHER, state_line, transition
from .runs.values import Tie, is_mark

_FIRST, _MOST_AHEAD = 5_000, 1_000
"""Where a claim came to runs that find no room: among how many of their queue it looks for others that need some, and how many of these it decides about."""
_MOST_ROUNDS = 3
"""So often a claim lets runs ask and looks for others; then the next one follows."""

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
        _other.State == limits.hidden(RunState.ENQUEUED),  # still, once it is locked
        _other.LimitKey.is_not(None),
        _other.RoomAt.is_(None),
        _other.RefusedBy.is_(None),
        sa.or_(
            _other.ExpiresAt.is_(None),
            _other.ExpiresAt > sa.bindparam("now", type_=UtcDateTime),
            _other.Attempt > 0,
        ),
        # By no index: in a table of which the planner does not know yet that it has grown, it would look through all runs of these jobs.
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
    """What is left of the keys of the runs that a claim looks at; nobody else gives room there until its transaction ends.

    Args:
        terms: What the jobs that this node knows say of their keys.
        now: The present instant.
    """

    def __init__(self, terms: Mapping[str, LimitPolicy], now: datetime) -> None:
        self._terms = terms
        self._now = now
        self._keys: dict[int, str] = {}
        """The keys of the runs that need room."""
        self._rooms: dict[str, Capacity] = {}
        self._given: set[str] = set()
        self._unknown: set[str] = set()
        """The keys that are new: nobody else sees them yet."""
        self._closed: set[str] = set()
        """The keys for which somebody waits now."""
        self._asking: dict[int, Row] = {}
        self._rounds = 0
        self.crowded: set[str] = set()
        """The queues in which runs found no room."""

    async def look(
        self, connection: AsyncConnection, rows: Collection[Row], *, waits: bool = True
    ) -> None:
        """Keep others from the keys of runs that need room, and see what is left of them; with ``waits`` those that somebody holds are waited for a moment."""
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
        """Whether somebody else holds the key of a run, so that nobody knows what is left of it."""
        return _needs_room(row) and self._keys[row.Id] not in self._rooms

    def take(self, row: Row) -> bool:
        """Take room for a run, if it needs some and there is; else it is to ask."""
        if not _needs_room(row):
            return True
        key = self._keys[row.Id]
        room = self._rooms[key]
        is_free = key not in self._closed and (room.limit.Id is None or _is_next(row, room.limit))
        if is_free and room.take(row.Weight):
            self._given.add(key)
            if room.limit.Id is not None:
                self._closed.add(key)  # the next of those that wait is to wait for a token, too
            return True
        self._closed.add(key)  # lighter runs behind it wait, too
        self._asking[row.Id] = row
        return False

    @property
    def more(self) -> bool:
        """Whether this claim may look for others in the place of runs that asked."""
        return self._rounds < _MOST_ROUNDS

    async def ask(self, connection: AsyncConnection) -> None:
        """Let those ask that found no room."""
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
        """The runs that found room have begun: write that down; who may go of those that ask, in keys where others asked before."""
        counted = {key: self._rooms[key] for key in self._given}
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
        """What there is of keys, those that are new among them, that nobody else holds."""
        keys = [row["LimitKey"] for row in rows]
        if not known.of(connection).many_writers:
            found = await limits.look(connection, keys)
            if len(found) == len(keys):
                return found
            new = [row for row in rows if row["LimitKey"] not in found]
            await connection.execute(sa.insert(job_limit), new)
            return await limits.look(connection, keys)
        # Who holds new keys and waits for those of another, who waits for these, would be in a circle.
        there = await (self._add_briefly if self._unknown else limits.hold)(connection, rows)
        held = set(there)
        self._unknown |= {key for key, is_new in there.items() if is_new}
        if waits and len(held) < len(keys):
            held.update(await _hold_briefly(connection, set(keys) - held))
        return await limits.look(connection, sorted(held))

    async def _add_briefly(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, bool]:
        found = await _briefly(connection, lambda: limits.hold(connection, rows))
        if found is not None:
            return found
        keys = [row["LimitKey"] for row in rows]
        return dict.fromkeys(await limits.lock(connection, keys, waits=False), False)

    def _new(self, unseen: Mapping[str, str], begins: Mapping[str, str]) -> list[dict[str, Any]]:
        """Rows of keys, in the order of all."""
        return [
            {"LimitKey": key, "JobName": begins[job], "UpdatedAt": self._now}
            | self._terms.get(job, LimitPolicy()).values
            for key, job in sorted(unseen.items())
        ]


async def look_ahead(
    connection: AsyncConnection, queue: str, terms: Mapping[str, LimitPolicy], now: datetime
) -> Sequence[Ready]:
    """Decide about the next runs of a queue that need room: those that find some keep it until a claim comes to them, and the others ask, together.

    Args:
        connection: A transaction of its own: who holds keys asks for no others.
        queue: A queue in which runs found no room.
        terms: What the jobs that this node knows say of their keys.
        now: The present instant.

    Returns:
        Those that may go of runs that asked before.
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
    """Whether a run was the most urgent of those that wait when it began to wait for the next token, and none has come that is more so."""
    # It may have begun since, and be a retry.
    is_woken = row.Id == limit.WakeId and row.Attempt == 0
    return bool(is_woken and row.Priority >= limit.Priority)


async def _hold_briefly(connection: AsyncConnection, keys: Collection[str]) -> Sequence[str]:
    """Wait a moment for whoever holds keys; those that a long transaction holds are left alone."""
    found = await _briefly(connection, lambda: limits.lock(connection, keys))
    return await limits.lock(connection, keys, waits=False) if found is None else found


async def _briefly(connection: AsyncConnection, work: Callable[[], Awaitable[T]]) -> T | None:
    """What comes of some work that waits for others a moment at most; ``None``: that was too short, and nothing of it is there."""
    dialect = known.of(connection)
    try:
        async with connection.begin_nested():
            if dialect.wait_briefly is not None:
                await connection.execute(dialect.wait_briefly)
            found = await work()
            if dialect.wait_on is not None:
                await connection.execute(dialect.wait_on)
            return found
    except DBAPIError as error:
        if not is_held_up(error):
            raise
    return None
