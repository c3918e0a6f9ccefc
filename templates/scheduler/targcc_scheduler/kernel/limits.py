"""Limits by key: capacity, demand and admission of runs.

A run that finds no capacity when a claim meets the run (``limit_claims.py``) is ``awaiting``. The run is admitted, that is ``enqueued``
again, as soon as the runs of its key that are under way leave capacity for it; from then on the run holds that capacity. So a run that
waits for capacity has no worker, and creating runs takes no lock. Capacity is counted from the runs themselves, under the lock of the
key's row in ``c_JobLimit``: no counter can drift.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import FINAL, WAITING, RunState
from ..db.columns import UtcDateTime
from ..db.dialects import known
from ..db.dialects.frequent import FrequentStatement, insert_new, is_among, is_in_list, listed
from ..db.tables import job_limit, job_run
from . import limit_renames
from .jobs.options import LimitPolicy
from .runs.transition import OTHER, is_free, is_in_state, state_line, transition
from .runs.values import Effects, Ready, Settlement, Tie

# Capacity and tokens left of a key.

AT_ONCE = 200
"""Maximum number of runs of one key that are admitted at a time; the end of each admits more."""

Row = Any
"""A row of a table: its columns by name."""


class Capacity:
    """Capacity and tokens left of a key.

    Args:
        limit: The row that :func:`look` returns for the key.
        unbegun: Number of runs of the key that hold capacity and have not begun.
        now: The present instant, by the database's clock.
    """

    def __init__(self, limit: Row, unbegun: int, now: datetime) -> None:
        self.limit = limit
        self.now = now
        self._left = math.inf if limit.Most is None else limit.Most - limit.taken
        self._is_free = limit.taken == 0 and limit.Most != 0
        self.tokens: float = math.inf  # a limit without a rate needs no tokens
        self.full_at = now
        self.token_at: datetime | None = None
        if limit.IntervalMs is not None:
            self._interval = timedelta(milliseconds=limit.IntervalMs)
            burst = limit.Burst or 1
            self.full_at = max(now, limit.NextAt or now)
            saved = (now + burst * self._interval - self.full_at) // self._interval
            self.tokens = min(saved, burst - unbegun)
            at = self.full_at + (1 - burst) * self._interval
            self.token_at = at if at > now else now + self._interval

    @property
    def count(self) -> int:
        """Maximum number of waiting runs worth reading."""
        return int(max(min(self._left, AT_ONCE), 0))

    def take(self, weight: int) -> bool:
        """Take capacity and a token for a run, if there is enough; a run that is heavier than the whole limit goes alone.

        Returns:
            Whether the run may go.
        """
        if self.tokens < 1 or (weight > self._left and not self._is_free):
            return False
        self._left -= weight
        self._is_free = False
        self.tokens -= 1
        if self.token_at is not None:
            self.full_at += self._interval
            at = self.full_at + (1 - (self.limit.Burst or 1)) * self._interval
            self.token_at = max(at, self.now + self._interval / 2)
        return True


# Locking on PostgreSQL: insert missing keys, and lock them with the existing unlocked keys, in one statement.

_HOLD = FrequentStatement(
    sa.text("""
    WITH given AS MATERIALIZED (
        SELECT * FROM json_populate_recordset(NULL::c_JobLimit, CAST(:rows AS json))
    ), added AS (
        INSERT INTO c_JobLimit (LimitKey, JobName, Most, IntervalMs, Burst, UpdatedAt)
        SELECT LimitKey, JobName, Most, IntervalMs, Burst, UpdatedAt FROM given
        WHERE NOT EXISTS (SELECT FROM c_JobLimit AS there WHERE there.LimitKey = given.LimitKey)
        ORDER BY LimitKey
        ON CONFLICT DO NOTHING
        RETURNING LimitKey
    ), free AS (
        SELECT LimitKey FROM c_JobLimit
        WHERE LimitKey = ANY (ARRAY(SELECT LimitKey FROM given))
        ORDER BY LimitKey
        FOR UPDATE SKIP LOCKED
    )
    SELECT LimitKey, true AS is_new FROM added UNION ALL SELECT LimitKey, false FROM free
    """)
    .bindparams(sa.bindparam("rows", type_=sa.Text))
    .columns(sa.column("LimitKey", sa.Text), sa.column("is_new", sa.Boolean))
)


_KEY = job_limit.c.LimitKey


async def hold(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Lock keys until the transaction ends, and insert missing keys, where transactions write concurrently.

    Args:
        connection: A transaction that writes.
        rows: The row of each key, to insert if the key is missing.

    Returns:
        The locked keys, and whether each is new. Keys that another transaction has locked are left out.
    """
    if not known.of(connection).changes_in_ctes:
        present = await look(connection, [row["LimitKey"] for row in rows])
        new = [row for row in rows if row["LimitKey"] not in present]
        locked = await lock(connection, sorted(present), waits=False) if present else ()
        added = [
            row["LimitKey"] for row in new if await insert_new(connection, job_limit, [_KEY], row)
        ]
        return dict.fromkeys(locked, False) | dict.fromkeys(added, True)
    given = [
        {name.lower(): value for name, value in row.items()}
        | {"updatedat": row["UpdatedAt"].isoformat()}
        for row in rows
    ]
    locked_rows = await _HOLD.all(connection, {"rows": json.dumps(given)})
    return {row.LimitKey: row.is_new for row in locked_rows}


# Demand: the capacity that the runs of a key take, and the most urgent runs that wait for capacity.

_l = job_limit.c
_IS_DEMAND_KEY = is_among(_l.LimitKey, listed("keys", sa.Text))
TAKER = job_run.alias("taker")
"""Alias of ``c_JobRun`` in the conditions that :func:`of_key` takes."""


def hidden(state: RunState) -> sa.ScalarSelect[Any]:
    """Return a state as an expression that hides the value from PostgreSQL's planner.

    If few runs had the state at the last ANALYZE, the planner would prefer the index of that state, and read all runs in the state,
    whatever their key.
    """
    return sa.select(sa.literal_column(f"'{state}'")).scalar_subquery()


def asks(run: sa.FromClause) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions that a run waits for capacity and for nothing else."""
    waits = run.c.Ties.op("&")(sa.literal_column(str(int(Tie.ASKS)))) != 0
    return run.c.State == hidden(RunState.AWAITING), run.c.CompletedAt.is_(None), waits


def still_asks(is_one: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Return the condition that a run waits for capacity and that no other transaction has locked the run.

    A statement with the condition locks the run. ``is_one`` names the run ``OTHER``. The lock holds the run in its state, so the
    transition names all states from which a run may come: see :func:`hidden`.
    """
    return is_free(is_one, OTHER.c.State == hidden(RunState.AWAITING))


def keeps_capacity(run: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition that a run was admitted and waits for a worker.

    In another state the column ``RoomAt`` has no meaning: nodes of an older release leave the column as it was.
    """
    return sa.and_(is_in_state(RunState.ENQUEUED, of=run), run.c.RoomAt.is_not(None))


def has_capacity(run: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition that a run takes capacity of its limit: the run is running, or was admitted and waits for a worker."""
    return sa.or_(run.c.State == RunState.RUNNING, keeps_capacity(run))


def of_key(what: sa.ColumnElement[Any], *which: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    """Select an expression over the runs of a key, under the alias :data:`TAKER`.

    The subquery reads one key at a time, since SQLite would otherwise read all runs that are not over.
    """
    return sa.select(what).where(TAKER.c.LimitKey == _l.LimitKey, *which).scalar_subquery()


def _urgent(run: sa.FromClause, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Select waiting runs, most urgent first."""
    return (
        sa.select(*columns).where(*asks(run)).order_by(run.c.Priority.desc(), run.c.DueAt, run.c.Id)
    )


HAS_ROOM: dict[str, Any] = {"RoomAt": sa.bindparam("now", type_=UtcDateTime)}
"""Columns that change in the row of an admitted run."""
_CANDIDATE = ("Id", "Queue", "Priority", "DueAt", "Weight")
_runs = TAKER.c.State == hidden(RunState.RUNNING), TAKER.c.CompletedAt.is_(None)
# No condition on CompletedAt: only the index of admitted runs then serves, however many runs of the key wait for a worker.
_keeps_room = TAKER.c.State == hidden(RunState.ENQUEUED), TAKER.c.RoomAt.is_not(None)
_weight = sa.func.coalesce(sa.func.sum(TAKER.c.Weight), 0)
TAKEN = of_key(_weight, *_runs) + of_key(_weight, *_keeps_room)
"""Total weight of a key's runs that are running, or were admitted and wait for a worker: two sums, each with an index of its own."""
_DEMAND_TERMS = (
    _l.LimitKey,
    _l.Most,
    sa.type_coerce(_l.IntervalMs, sa.types.NullType()).label("IntervalMs"),  # as drivers return it
    _l.Burst,
    _l.NextAt,
    _l.WakeId,
    _l.IsAwaited,
)
_keys = (
    sa.select(
        *_DEMAND_TERMS,
        TAKEN.label("taken"),
        _urgent(OTHER, OTHER.c.Id)
        .where(OTHER.c.LimitKey == _l.LimitKey)
        .limit(sa.literal_column("1"))
        .scalar_subquery()
        .label("first_id"),
    )
    .where(_IS_DEMAND_KEY)
    .cte("keys")
)
_first = _keys.outerjoin(job_run, job_run.c.Id == _keys.c.first_id)
_FOUND = (*_keys.c, *(job_run.c[name] for name in _CANDIDATE))
_LOOK = FrequentStatement(sa.select(*_FOUND, sa.null().label("admitted")).select_from(_first))
_has_room = sa.or_(
    _keys.c.Most.is_(None),
    sa.and_(_keys.c.taken == 0, _keys.c.Most > 0),  # a run heavier than the limit goes alone
    job_run.c.Weight <= _keys.c.Most - _keys.c.taken,
)
_with_room = sa.select(job_run.c.Id).select_from(_first)
_with_room = _with_room.where(_keys.c.IntervalMs.is_(None), _has_room)
_admitted = (
    transition(RunState.ENQUEUED, still_asks(OTHER.c.Id.in_(_with_room)), **HAS_ROOM)
    .returning(job_run.c.Id)
    .cte("admitted")
)
_counted = (
    sa.update(job_limit)
    .where(
        _l.LimitKey.in_(
            sa.select(_keys.c.LimitKey).where(_keys.c.first_id.in_(sa.select(_admitted.c.Id)))
        )
    )
    .values(Version=_l.Version + 1)
    .cte("counted")
)
_LOOK_AND_ADMIT = FrequentStatement(
    sa.select(*_FOUND, _admitted.c.Id.label("admitted"))
    .select_from(_first.outerjoin(_admitted, _admitted.c.Id == _keys.c.first_id))
    .add_cte(_counted)
)
_UNBEGUN = FrequentStatement(
    sa.select(_l.LimitKey, of_key(sa.func.count(), *_keeps_room).label("count")).where(
        _IS_DEMAND_KEY
    )
)
_NEXT = FrequentStatement(
    _urgent(job_run, *(job_run.c[name] for name in ("LimitKey", *_CANDIDATE)))
    .where(job_run.c.LimitKey == sa.bindparam("key", type_=sa.Text))
    .limit(sa.bindparam("count"))
)


async def look(connection: AsyncConnection, keys: Collection[str]) -> Mapping[str, Row]:
    """Read limit rows with taken capacity and most urgent waiting run.

    Returns:
        For each key its row, the weight of the runs that take capacity (``taken``), and the most urgent waiting run (``Id``;
        ``None``: no run waits).
    """
    return _by_key(await _LOOK.all(connection, {"keys": list(keys)}))


async def look_and_admit(
    connection: AsyncConnection, keys: Collection[str], now: datetime, line: str
) -> Mapping[str, Row]:
    """Read keys as :func:`look` does, and admit the most urgent waiting run of each key without a rate, if there is capacity.

    PostgreSQL only. The column ``admitted`` has the id of the admitted run, or ``None``.
    """
    parameters = {"keys": list(keys), "now": now, "line": line}
    return _by_key(await _LOOK_AND_ADMIT.all(connection, parameters))


async def capacities(
    connection: AsyncConnection, limits: Mapping[str, Row], now: datetime
) -> dict[str, Capacity]:
    """Compute the capacity left of keys; a key with a rate uses the present instant by the database's clock.

    Args:
        connection: A transaction that has locked the keys.
        limits: The rows that :func:`look` returns for the keys.
        now: The present instant by this node's clock.
    """
    rates = [key for key, limit in limits.items() if limit.IntervalMs is not None]
    clock = (await known.of(connection).read_clock(connection) if rates else None) or now
    unbegun = await _unbegun(connection, rates)
    return {key: Capacity(limit, unbegun.get(key, 0), clock) for key, limit in limits.items()}


def _by_key(rows: Iterable[Row]) -> Mapping[str, Row]:
    return {row.LimitKey: row for row in rows}


async def _unbegun(connection: AsyncConnection, keys: Collection[str]) -> Mapping[str, int]:
    """Return the number of runs of each key that hold capacity and have not begun."""
    if not keys:
        return {}
    return {row.LimitKey: row.count for row in await _UNBEGUN.all(connection, {"keys": list(keys)})}


async def urgent(connection: AsyncConnection, key: str, count: int) -> Sequence[Row]:
    """Return the ``count`` most urgent waiting runs of a key."""
    return await _NEXT.all(connection, {"key": key, "count": count})


# Admission: runs wait for capacity of their key, and for a token if there is a rate; the end of a run admits the next run.

_MOST = 1_000
"""Maximum number of keys in one step of a sweep."""

_c = job_run.c
_KEYS = listed("keys", sa.Text)
_IDS = is_among(_c.Id, listed("ids", sa.BigInteger))
_IS_KEY = is_among(_l.LimitKey, _KEYS)
_HELD = sa.select(_l.LimitKey).where(_IS_KEY).order_by(_l.LimitKey)
_LOCK = FrequentStatement(_HELD.with_for_update())
_LOCK_FREE = FrequentStatement(_HELD.with_for_update(skip_locked=True))
_STILL_ASK = still_asks(is_among(OTHER.c.Id, listed("ids", sa.BigInteger)))
_ADMIT = FrequentStatement(transition(RunState.ENQUEUED, _STILL_ASK, **HAS_ROOM).returning(_c.Id))
_WAKE = FrequentStatement(
    transition(
        RunState.SCHEDULED, _STILL_ASK, DueAt=sa.bindparam("due", type_=UtcDateTime)
    ).returning(_c.Id)
)
_WAKES = FrequentStatement(
    sa.select(_c.Id).where(_IDS, _c.State == sa.literal_column(f"'{RunState.SCHEDULED}'"))
)
_GIVEN = FrequentStatement(sa.update(job_limit).where(_IS_KEY).values(Version=_l.Version + 1))
IS_AWAITED, _NOBODY_WAITS = (
    FrequentStatement(sa.update(job_limit).where(_IS_KEY).values(IsAwaited=constant))
    for constant in (sa.true(), sa.false())
)
_TERMS = sa.select(job_limit.c.JobName, job_limit.c.Most, job_limit.c.IntervalMs, job_limit.c.Burst)
_TERMS = _TERMS.where(limit_renames.IS_KEY).distinct()
_WAITED_FOR = FrequentStatement(
    sa.select(job_limit.c.LimitKey)
    .where(
        job_limit.c.LimitKey > sa.bindparam("after", type_=sa.Text),
        sa.exists().where(_c.LimitKey == job_limit.c.LimitKey, *asks(job_run)),
    )
    .order_by(job_limit.c.LimitKey)
    .limit(_MOST)
)


async def are_used(connection: AsyncConnection) -> bool:
    """Return whether any limit key exists."""
    any_key = sa.select(job_limit.c.LimitKey).where(limit_renames.IS_KEY).limit(1)
    return (await connection.execute(any_key)).first() is not None


async def on_settled(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Effects:
    """Admit waiting runs after runs with the same limit keys ended or left their workers."""
    keys: dict[bool | None, set[str]] = {True: set(), False: set(), None: set()}
    for item in settled:
        if item.limit_key is not None:
            keys[item.is_awaited].add(item.limit_key)
    ready = await admit_held(connection, sorted(keys[True]), now)
    if keys[None]:
        ready += await admit(connection, keys[None], now)
    return Effects(ready=ready)


async def removed(connection: AsyncConnection, rows: Sequence[Row], now: datetime) -> Effects:
    """Admit waiting runs after a person removed runs with the same limit keys; ``rows`` are the removed rows as they were."""
    keys = {row.LimitKey for row in rows if row.LimitKey is not None and row.State not in FINAL}
    return Effects(ready=await admit(connection, keys, now)) if keys else Effects()


async def admit(connection: AsyncConnection, keys: Iterable[str], now: datetime) -> list[Ready]:
    """Lock keys, and admit waiting runs as far as capacity goes."""
    return await admit_held(connection, await lock(connection, keys), now)


async def renew(
    connection: AsyncConnection, jobs: Mapping[str, LimitPolicy], now: datetime
) -> None:
    """Give keys the limits of a new release, in a transaction of its own.

    Args:
        connection: A transaction that writes.
        jobs: The policies of all jobs of the deciding release, including jobs without a limit.
        now: The present instant.
    """
    had = await limit_renames.earlier_names(connection)
    changed: dict[str, LimitPolicy] = {}
    for row in (await connection.execute(_TERMS)).all():
        names = (row.JobName, *had.get(row.JobName, ()))
        terms = next((jobs[name] for name in names if name in jobs), None)
        if terms is not None and terms != LimitPolicy(row.Most, row.IntervalMs, row.Burst):
            changed[row.JobName] = terms
    if not changed:
        return
    query = sa.select(_l.LimitKey).where(_l.JobName.in_(sorted(changed))).order_by(_l.LimitKey)
    await connection.execute(query.with_for_update())  # lock order: by key
    for name, terms in changed.items():
        of_job = sa.update(job_limit).where(_l.JobName == name)
        await connection.execute(of_job.values(**terms.values, UpdatedAt=now))


async def admit_waiting(
    connection: AsyncConnection, after: str, now: datetime
) -> tuple[list[Ready], str | None]:
    """Admit waiting runs of the next keys, for runs that no settlement admitted.

    Each call needs a transaction of its own: a transaction that holds keys locks no smaller keys.

    Args:
        connection: A transaction that writes.
        after: The last key of the previous call; empty at first.
        now: The present instant.

    Returns:
        The admitted runs, and the last key of this call; ``None``: there are no more keys.
    """
    keys = [row.LimitKey for row in await _WAITED_FOR.all(connection, {"after": after})]
    return await admit(connection, keys, now), keys[-1] if len(keys) == _MOST else None


async def lock(
    connection: AsyncConnection, keys: Iterable[str], *, waits: bool = True
) -> list[str]:
    """Lock limit rows in key order and return their keys. ``waits=False`` skips locked rows."""
    statement = _LOCK if waits else _LOCK_FREE
    rows = await statement.all(connection, {"keys": sorted(keys)})
    return [row.LimitKey for row in rows]


async def admit_held(
    connection: AsyncConnection, keys: Collection[str], now: datetime
) -> list[Ready]:
    """Admit waiting runs of locked keys: a statement that begins after the lock sees all changes of other transactions."""
    if not keys:
        return []
    line = state_line(now, RunState.ENQUEUED, "has room")
    limits = await _look(connection, keys, now, line)
    rooms = await capacities(connection, limits, now)
    await _say_who_waits(connection, limits)
    gone = [row for row in limits.values() if row.admitted]
    for row in gone:
        rooms[row.LimitKey].take(row.Weight)
    candidates = await _candidates(connection, rooms)
    chosen: dict[int, Row] = {}
    waits: dict[str, Row] = {}
    for key, rows in candidates.items():
        for row in rows:
            if not rooms[key].take(row.Weight):
                waits[key] = row
                break
            chosen[row.Id] = row
    parameters = {"ids": list(chosen), "now": now, "line": line}
    admitted = await _ADMIT.all(connection, parameters) if chosen else []
    gone += [chosen[row.Id] for row in admitted]
    ready = [Ready(row.Id, row.Queue, row.Priority, row.DueAt) for row in gone]
    await given(connection, {row.LimitKey: rooms[row.LimitKey] for row in chosen.values()})
    for key, row in waits.items():
        room = rooms[key]
        if room.token_at is not None and room.tokens < 1:
            ready += await _wake(connection, room, row, now + (room.token_at - room.now), now)
    return sorted(ready, key=lambda run: run.run_id)


async def _say_who_waits(connection: AsyncConnection, limits: Mapping[str, Row]) -> None:
    """Correct the column ``IsAwaited`` of keys where it is out of date."""
    for statement, is_awaited in ((_NOBODY_WAITS, True), (IS_AWAITED, False)):
        keys = [
            key
            for key, limit in limits.items()
            if limit.IsAwaited == is_awaited and (limit.Id is None) == is_awaited
        ]
        if keys:
            await statement.counts(connection, [{"keys": keys}])


async def given(
    connection: AsyncConnection, rooms: Mapping[str, Capacity], *, uncounted: Collection[str] = ()
) -> None:
    """Record that runs of locked keys got capacity: raise ``Version``, so that earlier readers notice, and store the spent tokens.

    Args:
        connection: The transaction.
        rooms: The capacity left, by key.
        uncounted: Keys that no other transaction can have read.
    """
    counted = sorted(rooms.keys() - set(uncounted))
    if counted and known.of(connection).many_writers:
        await _GIVEN.counts(connection, [{"keys": counted}])
    for key, room in sorted(rooms.items()):
        if room.token_at is not None:
            await _put(connection, key, NextAt=room.full_at)


async def _look(
    connection: AsyncConnection, keys: Collection[str], now: datetime, line: str
) -> Mapping[str, Row]:
    """Read keys; on PostgreSQL, where each statement is a round trip, the same statement admits the first runs."""
    if known.of(connection).changes_in_ctes:
        return await look_and_admit(connection, keys, now, line)
    return await look(connection, keys)


async def _candidates(
    connection: AsyncConnection, rooms: Mapping[str, Capacity]
) -> dict[str, Sequence[Row]]:
    """Return the waiting runs of each key, most urgent first, as many as are worth reading."""
    candidates: dict[str, Sequence[Row]] = {}
    for key, room in rooms.items():
        limit = room.limit
        if room.count and limit.Id is not None:
            is_enough = room.count == 1 and limit.IntervalMs is None and not limit.admitted
            candidates[key] = [limit] if is_enough else await urgent(connection, key, room.count)
    return candidates


async def _wake(
    connection: AsyncConnection, room: Capacity, row: Row, due: datetime, now: datetime
) -> list[Ready]:
    """Let one waiting run ask again when the next token comes, unless a run is scheduled to do so already."""
    wake_id = room.limit.WakeId
    if wake_id is not None and await _WAKES.all(connection, {"ids": [wake_id]}):
        return []
    line = state_line(now, RunState.SCHEDULED, "waits for a token")
    if not await _WAKE.all(connection, {"ids": [row.Id], "line": line, "due": due}):
        return []
    await _put(connection, room.limit.LimitKey, WakeId=row.Id)
    return [Ready(row.Id, row.Queue, row.Priority, due)]


async def _put(connection: AsyncConnection, key: str, **values: Any) -> None:
    await connection.execute(
        sa.update(job_limit).where(job_limit.c.LimitKey == key).values(**values)
    )


# Fast path: capacity for runs that a claim takes in one statement, of keys that no run waits for and that no other transaction has locked.
#
# A statement sees the database as of its start, and sees changes of other transactions only after it has locked a key. So each transaction
# that gives capacity raises the ``Version`` of the key. A key whose ``Version`` has changed counts as full, and its runs are left to a
# claim in a transaction (``limit_claims.py``). A new key gets its row.

_run, _seen = job_run.alias("needing_run"), job_limit.alias("seen")


def policies_of(terms: Mapping[str, LimitPolicy]) -> str:
    """Return the parameter ``terms``: the policies of jobs without a rate, as JSON."""
    return json.dumps(
        [
            {"job": name, "most": policy.most}
            for name, policy in terms.items()
            if policy.interval_ms is None
        ]
    )


def with_capacity(entries: sa.CTE) -> sa.CompoundSelect[tuple[int]]:
    """Select the ids of runs that need capacity and find capacity; locks runs first, then keys.

    Args:
        entries: A few entries of any runs, with columns ``run_id``, ``priority`` and ``entry``; the most urgent first by the last two.
    """
    needing = (
        sa.select(
            *(_run.c[name] for name in ("Id", "JobName", "LimitKey", "Weight")),
            entries.c.priority,
            entries.c.entry,
        )
        .join(entries, entries.c.run_id == _run.c.Id)
        .where(
            is_in_list(_run.c.Id, sa.select(entries.c.run_id).scalar_subquery()),
            is_in_state(*sorted(WAITING), of=_run, by_index=False),
            _run.c.LimitKey.is_not(None),
            sa.not_(keeps_capacity(_run)),
        )
        .with_for_update(of=_run, skip_locked=True)
        .cte("needing")
    )
    before = sa.func.sum(needing.c.Weight).over(
        partition_by=needing.c.LimitKey, order_by=(needing.c.priority.desc(), needing.c.entry)
    )
    wanted = sa.select(needing.c.Id, needing.c.LimitKey, before.label("upto")).cte("wanted")
    # Look up each key by itself: for an array of keys the planner expects so many that it would read the whole table.
    keys = sa.select(needing.c.LimitKey).distinct().subquery("keys")
    of_key = (
        sa.select(_l.Version, (_l.Most - TAKEN).label("room"))
        .where(_l.LimitKey == keys.c.LimitKey)
        .offset(sa.literal_column("0"))
        .lateral("of_key")
    )
    left = sa.select(keys.c.LimitKey, of_key).join_from(keys, of_key, sa.true()).cte("left_")
    unchanged = (
        sa.select(_seen.c.LimitKey)
        .join(left, sa.and_(left.c.LimitKey == _seen.c.LimitKey, left.c.Version == _seen.c.Version))
        .where(sa.not_(_seen.c.IsAwaited), _seen.c.IntervalMs.is_(None))
        .order_by(_seen.c.LimitKey)
        .with_for_update(of=_seen, skip_locked=True)
        .cte("unchanged")
    )
    held = (
        sa.update(job_limit)
        .where(_l.LimitKey == unchanged.c.LimitKey)
        .values(Version=_l.Version + 1)
        .returning(_l.LimitKey)
        .cte("held")
    )
    new = _new(needing, left)
    with_left = (
        sa.select(wanted.c.Id)
        .join(held, held.c.LimitKey == wanted.c.LimitKey)
        .join(left, left.c.LimitKey == wanted.c.LimitKey)
        .where(sa.or_(left.c.room.is_(None), wanted.c.upto <= left.c.room))
    )
    with_new = (
        sa.select(wanted.c.Id)
        .join(new, new.c.LimitKey == wanted.c.LimitKey)
        .where(sa.or_(new.c.Most.is_(None), wanted.c.upto <= new.c.Most))
    )
    return with_left.union_all(with_new)


def _new(needing: sa.CTE, left: sa.CTE) -> sa.CTE:
    """Insert rows of keys that have no row, and therefore no run under way.

    A job is left out if its keys begin with another name.
    """
    from sqlalchemy.dialects.postgresql import insert  # only this function needs the import

    given = (
        sa.func.json_to_recordset(sa.cast(sa.bindparam("terms", type_=sa.Text), sa.JSON))
        .table_valued(sa.column("job", sa.Text), sa.column("most", sa.Integer), name="given")
        .render_derived(with_types=True)
    )
    mark = job_limit.alias("there")
    begins = sa.func.starts_with(needing.c.LimitKey, given.c.job + " ")
    moved = limit_renames.MARK + needing.c.JobName
    rows = (
        sa.select(
            needing.c.LimitKey, given.c.job, given.c.most, sa.bindparam("now", type_=UtcDateTime)
        )
        .distinct()
        .join(given, given.c.job == needing.c.JobName)
        .where(
            sa.or_(needing.c.LimitKey == given.c.job, begins),
            needing.c.LimitKey.not_in(sa.select(left.c.LimitKey)),
            ~sa.exists().where(mark.c.LimitKey == moved),
        )
        .order_by(needing.c.LimitKey)
    )
    return (
        insert(job_limit)
        .from_select(["LimitKey", "JobName", "Most", "UpdatedAt"], rows, include_defaults=False)
        .on_conflict_do_nothing()
        .returning(_l.LimitKey, _l.Most)
        .cte("new_keys")
    )
