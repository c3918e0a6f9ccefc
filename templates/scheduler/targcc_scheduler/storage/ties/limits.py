"""Limits by key: runs of a key wait for room, and for a token where there is a rate; whoever ends lets the next one go.

A run that finds no room when a claim comes to it (``limit_keys/claims.py``) is ``awaiting``, and ``enqueued`` again as soon as the runs of its key that are under way leave
room for it, which it has from then on. So a run that waits for room has no worker, and who creates runs takes no lock. Room is counted from the runs themselves, under the lock of the key's row in ``c_JobLimit``:
no counter can drift.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL, RunState
from ..dialects import known
from ..dialects.frequent import FrequentStatement
from ..dialects.listed import is_among, listed
from ..runs.transition import OTHER, state_line, transition
from ..runs.values import Settlement
from ..schema.tied.keys import job_limit
from ..tables import UtcDateTime, job_run
from .consequences import Consequences, Ready
from .limit_keys import asking, renamed
from .limit_keys.room import Room
from .limit_keys.terms import Terms

_MOST = 1_000
"""Keys that a sweep looks at."""

Row = Any
"""A row of a table: its columns by name."""

_c = job_run.c
_KEYS = listed("keys", sa.Text)
_IDS = is_among(_c.Id, listed("ids", sa.BigInteger))
_l = job_limit.c
_IS_KEY = is_among(_l.LimitKey, _KEYS)
_HELD = sa.select(_l.LimitKey).where(_IS_KEY).order_by(_l.LimitKey)
_LOCK = FrequentStatement(_HELD.with_for_update())
_LOCK_FREE = FrequentStatement(_HELD.with_for_update(skip_locked=True))
_STILL_ASK = asking.still_asks(is_among(OTHER.c.Id, listed("ids", sa.BigInteger)))
_ADMIT = FrequentStatement(
    transition(RunState.ENQUEUED, _STILL_ASK, **asking.HAS_ROOM).returning(_c.Id)
)
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
    FrequentStatement(sa.update(job_limit).where(_IS_KEY).values(IsAwaited=sa.literal_column(said)))
    for said in ("true", "false")
)
_TERMS = sa.select(job_limit.c.JobName, job_limit.c.Most, job_limit.c.IntervalMs, job_limit.c.Burst)
_TERMS = _TERMS.where(renamed.IS_KEY).distinct()
_WAITED_FOR = FrequentStatement(
    sa.select(job_limit.c.LimitKey)
    .where(
        job_limit.c.LimitKey > sa.bindparam("after", type_=sa.Text),
        sa.exists().where(_c.LimitKey == job_limit.c.LimitKey, *asking.asks(job_run)),
    )
    .order_by(job_limit.c.LimitKey)
    .limit(_MOST)
)


async def are_used(connection: AsyncConnection) -> bool:
    """Whether there is a key."""
    any_key = sa.select(job_limit.c.LimitKey).where(renamed.IS_KEY).limit(1)
    return (await connection.execute(any_key)).first() is not None


async def ended(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Consequences:
    """Runs of limits have ended, or let go of their workers: others may go."""
    keys: dict[bool | None, set[str]] = {True: set(), False: set(), None: set()}
    for item in settled:
        if item.limit_key is not None:
            keys[item.is_awaited].add(item.limit_key)
    ready = await admit_held(connection, sorted(keys[True]), now)
    if keys[None]:
        ready += await admit(connection, keys[None], now)
    return Consequences(ready=ready)


async def removed(connection: AsyncConnection, rows: Sequence[Row], now: datetime) -> Consequences:
    """Runs of limits were removed by a person; ``rows`` are theirs, as they were: others may go."""
    keys = {row.LimitKey for row in rows if row.LimitKey is not None and row.State not in FINAL}
    return Consequences(ready=await admit(connection, keys, now)) if keys else Consequences()


async def admit(connection: AsyncConnection, keys: Iterable[str], now: datetime) -> list[Ready]:
    """Let runs of keys go for which there is room."""
    return await admit_held(connection, await lock(connection, keys), now)


async def renew(connection: AsyncConnection, jobs: Mapping[str, Terms], now: datetime) -> None:
    """Let keys have the limits that a new release gives their jobs, in a transaction of its own.

    Args:
        connection: A transaction that writes.
        jobs: What the deciding release says of all its jobs; those without a limit too.
        now: The present instant.
    """
    had = await renamed.earlier_names(connection)
    changed: dict[str, Terms] = {}
    for row in (await connection.execute(_TERMS)).all():
        names = (row.JobName, *had.get(row.JobName, ()))
        terms = next((jobs[name] for name in names if name in jobs), None)
        if terms is not None and terms != Terms(row.Most, row.IntervalMs, row.Burst):
            changed[row.JobName] = terms
    if not changed:
        return
    theirs = sa.select(_l.LimitKey).where(_l.JobName.in_(sorted(changed))).order_by(_l.LimitKey)
    await connection.execute(theirs.with_for_update())  # in the order of all
    for name, terms in changed.items():
        of_job = sa.update(job_limit).where(_l.JobName == name)
        await connection.execute(of_job.values(**terms.values, UpdatedAt=now))


async def admit_waiting(
    connection: AsyncConnection, after: str, now: datetime
) -> tuple[list[Ready], str | None]:
    """Let runs of some keys go whom nobody has let go, in a transaction of its own: who holds keys asks for no smaller ones.

    Args:
        connection: A transaction that writes.
        after: The key that was looked at last; empty: none.
        now: The present instant.

    Returns:
        Those that go, and the key that was looked at last; ``None``: there are no more.
    """
    keys = [row.LimitKey for row in await _WAITED_FOR.all(connection, {"after": after})]
    return await admit(connection, keys, now), keys[-1] if len(keys) == _MOST else None


async def lock(
    connection: AsyncConnection, keys: Iterable[str], *, waits: bool = True
) -> list[str]:
    """Keep others from keys, in one order; those that there are, without ``waits`` but for those that somebody holds."""
    statement = _LOCK if waits else _LOCK_FREE
    rows = await statement.all(connection, {"keys": sorted(keys)})
    return [row.LimitKey for row in rows]


async def admit_held(
    connection: AsyncConnection, keys: Collection[str], now: datetime
) -> list[Ready]:
    """As :func:`admit`, for keys that are locked: a statement that begins after that sees all that others have done."""
    if not keys:
        return []
    line = state_line(now, RunState.ENQUEUED, "has room")
    limits = await _look(connection, keys, now, line)
    rooms = await asking.rooms(connection, limits, now)
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
    asked = {"ids": list(chosen), "now": now, "line": line}
    admitted = await _ADMIT.all(connection, asked) if chosen else []
    gone += [chosen[row.Id] for row in admitted]
    ready = [Ready(row.Id, row.Queue, row.Priority, row.DueAt) for row in gone]
    await given(connection, {row.LimitKey: rooms[row.LimitKey] for row in chosen.values()})
    for key, row in waits.items():
        room = rooms[key]
        if room.token_at is not None and room.tokens < 1:
            ready += await _wake(connection, room, row, now + (room.token_at - room.now), now)
    return sorted(ready, key=lambda run: run.run_id)


async def _say_who_waits(connection: AsyncConnection, limits: Mapping[str, Row]) -> None:
    """Whether somebody waits for keys, where their rows say otherwise."""
    for statement, is_awaited in ((_NOBODY_WAITS, True), (IS_AWAITED, False)):
        keys = [
            key
            for key, limit in limits.items()
            if limit.IsAwaited == is_awaited and (limit.Id is None) == is_awaited
        ]
        if keys:
            await statement.counts(connection, [{"keys": keys}])


async def given(
    connection: AsyncConnection, rooms: Mapping[str, Room], *, uncounted: Collection[str] = ()
) -> None:
    """Runs of keys that are locked have been given room: others that have looked before see it, and tokens are gone.

    Args:
        connection: The transaction.
        rooms: What is left, by the key.
        uncounted: Keys that nobody else can have looked at.
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
    """What there is of keys; where a statement costs a round trip, the same one lets the first of them go."""
    if known.of(connection).many_writers:
        return await asking.look_and_admit(connection, keys, now, line)
    return await asking.look(connection, keys)


async def _candidates(
    connection: AsyncConnection, rooms: Mapping[str, Room]
) -> dict[str, Sequence[Row]]:
    """The runs of keys that ask, the most urgent first, as far as it is worth to look."""
    found: dict[str, Sequence[Row]] = {}
    for key, room in rooms.items():
        limit = room.limit
        if room.count and limit.Id is not None:
            is_enough = room.count == 1 and limit.IntervalMs is None and not limit.admitted
            found[key] = [limit] if is_enough else await asking.urgent(connection, key, room.count)
    return found


async def _wake(
    connection: AsyncConnection, room: Room, row: Row, due: datetime, now: datetime
) -> list[Ready]:
    """Let one of the runs that wait ask again when the next token comes, unless one does already."""
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
