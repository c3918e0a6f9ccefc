"""Limits by key: runs of a key wait for room, and for a token where there is a rate; whoever ends lets the next one go.

A run of a limit is ``scheduled`` until it is due, also when that is at once. Then a node's stage lets it ask: it becomes ``awaiting``, and
``enqueued`` as soon as the runs of its key that are enqueued or running leave room for it. So the claim knows nothing of keys, a run that waits for room has no
worker, and who creates runs takes no lock. Room is counted from the runs themselves, under the lock of the key's row in ``c_JobLimit``:
no counter can drift.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL, RunState
from ..dialects import known
from ..dialects.frequent import FrequentStatement
from ..dialects.listed import is_among, listed
from ..runs.transition import OTHER, is_in_state, state_line, transition
from ..runs.values import Settlement
from ..schema.tied.keys import job_limit
from ..tables import UtcDateTime, job_run
from .consequences import Consequences, Ready
from .keys.marks import IS_LIMIT
from .limit_keys import asking, renamed
from .limit_keys.room import Room
from .tie import Tie

_MOST = 1_000
"""Runs that a stage lets ask, and keys that a sweep looks at."""

Row = Any
"""A row of a table: its columns by name."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a job's definition says of its keys.

    Args:
        most: The weight of runs of a key that may be under way at once; ``None``: any.
        interval_ms: Milliseconds between two tokens; ``None``: no rate.
        burst: Tokens that are saved up at most.
    """

    most: int | None = None
    interval_ms: float | None = None
    burst: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The columns."""
        return {"Most": self.most, "IntervalMs": self.interval_ms, "Burst": self.burst}


_c = job_run.c
_KEYS = listed("keys", sa.Text)
_IDS = is_among(_c.Id, listed("ids", sa.BigInteger))
_IS_DUE = sa.select(_c.Id, _c.LimitKey, _c.JobName).where(
    is_in_state(RunState.SCHEDULED, RunState.RETRYING),
    _c.LimitKey.is_not(None),
    IS_LIMIT,
    _c.DueAt <= sa.bindparam("now", type_=UtcDateTime),
    is_among(_c.JobName, listed("jobs", sa.Text)),
)


def _oldest(due: sa.Select[Any]) -> FrequentStatement:
    return FrequentStatement(
        due.order_by(_c.DueAt, _c.Id).limit(_MOST).with_for_update(skip_locked=True)
    )


_TIME_HAS_COME = _oldest(_IS_DUE)
_OF_OTHER_KEYS = _oldest(_IS_DUE.where(sa.not_(is_among(_c.LimitKey, _KEYS))))
_ASK = FrequentStatement(
    transition(
        RunState.AWAITING,
        _IDS,
        sources=(RunState.SCHEDULED, RunState.RETRYING),
        Ties=_c.Ties.op("|")(sa.literal_column(str(int(Tie.ASKS)))),
    )
)
_l = job_limit.c
_LOCK = FrequentStatement(
    sa.select(_l.LimitKey)
    .where(is_among(_l.LimitKey, _KEYS))
    .order_by(_l.LimitKey)
    .with_for_update()
)
_STILL_ASK = asking.still_asks(is_among(OTHER.c.Id, listed("ids", sa.BigInteger)))
_ADMIT = FrequentStatement(transition(RunState.ENQUEUED, _STILL_ASK).returning(_c.Id))
_WAKE = FrequentStatement(
    transition(
        RunState.SCHEDULED, _STILL_ASK, DueAt=sa.bindparam("due", type_=UtcDateTime)
    ).returning(_c.Id)
)
_WAKES = FrequentStatement(
    sa.select(_c.Id).where(_IDS, _c.State == sa.literal_column(f"'{RunState.SCHEDULED}'"))
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


async def stage(
    connection: AsyncConnection, jobs: Mapping[str, Terms], now: datetime
) -> list[Ready]:
    """As :func:`stage_some`; those that have room."""
    ready, _ = await stage_some(connection, jobs, now)
    return ready


async def stage_some(
    connection: AsyncConnection, jobs: Mapping[str, Terms], now: datetime
) -> tuple[list[Ready], bool]:
    """Let runs of limits whose time has come ask for room: the longest due, and beside them as many of other keys.

    Args:
        connection: A transaction that writes.
        jobs: What the jobs that this node knows say of their keys.
        now: The present instant.

    Returns:
        Those that have room, and whether there may be more that are due.
    """
    asked = {"jobs": list(jobs), "now": now}
    rows = list(await _TIME_HAS_COME.all(connection, asked))
    if not rows:
        return [], False
    more = len(rows) == _MOST
    if more:  # a key with many runs holds up no other
        asked["keys"] = sorted({row.LimitKey for row in rows})
        rows += await _OF_OTHER_KEYS.all(connection, asked)
    line = state_line(now, RunState.AWAITING, "waits for room")
    await _ASK.counts(connection, [{"ids": [row.Id for row in rows], "line": line}])
    of_job, begins = await renamed.keys_of(connection, rows, jobs)
    keys = await _lock(connection, of_job)
    while missing := sorted(of_job.keys() - set(keys)):
        new = [
            {"LimitKey": key, "JobName": begins[of_job[key]], "UpdatedAt": now}
            | jobs[of_job[key]].values
            for key in missing
        ]
        insert = known.of(connection).insert_ignore(job_limit, [job_limit.c.LimitKey])
        await connection.execute(insert, new)
        keys = await _lock(connection, of_job)
    return await _admit(connection, keys, now), more


async def ended(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Consequences:
    """Runs of limits have ended, or let go of their workers: others may go."""
    keys = {item.limit_key for item in settled if item.limit_key is not None}
    if not keys:
        return Consequences()
    return Consequences(ready=await _admit(connection, sorted(keys), now))


async def removed(connection: AsyncConnection, rows: Sequence[Row], now: datetime) -> Consequences:
    """Runs of limits were removed by a person; ``rows`` are theirs, as they were: others may go."""
    keys = {row.LimitKey for row in rows if row.LimitKey is not None and row.State not in FINAL}
    return Consequences(ready=await admit(connection, keys, now)) if keys else Consequences()


async def admit(connection: AsyncConnection, keys: Iterable[str], now: datetime) -> list[Ready]:
    """Let runs of keys go for which there is room."""
    return await _admit(connection, await _lock(connection, keys), now)


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


async def _lock(connection: AsyncConnection, keys: Iterable[str]) -> list[str]:
    """Keep others from keys, in one order; those that there are."""
    rows = await _LOCK.all(connection, {"keys": sorted(keys)})
    return [row.LimitKey for row in rows]


async def _admit(connection: AsyncConnection, keys: Collection[str], now: datetime) -> list[Ready]:
    """As :func:`admit`, for keys that are locked: a statement that begins after that sees all that others have done."""
    if not keys:
        return []
    line = state_line(now, RunState.ENQUEUED, "has room")
    limits = await _look(connection, keys, line)
    rooms, clock = await _rooms(connection, limits, now)
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
    asked = {"ids": list(chosen), "line": line}
    admitted = await _ADMIT.all(connection, asked) if chosen else []
    gone += [chosen[row.Id] for row in admitted]
    ready = [Ready(row.Id, row.Queue, row.Priority, row.DueAt) for row in gone]
    for key in {row.LimitKey for row in chosen.values()}:
        if rooms[key].token_at is not None:
            await _put(connection, key, NextAt=rooms[key].full_at)
    for key, row in waits.items():
        room = rooms[key]
        if room.token_at is not None and room.tokens < 1:
            ready += await _wake(connection, room, row, now + (room.token_at - clock), now)
    return sorted(ready, key=lambda run: run.run_id)


async def _look(connection: AsyncConnection, keys: Collection[str], line: str) -> Mapping[str, Row]:
    """What there is of keys; where a statement costs a round trip, the same one lets the first of them go."""
    if known.of(connection).many_writers:
        return await asking.look_and_admit(connection, keys, line)
    return await asking.look(connection, keys)


async def _rooms(
    connection: AsyncConnection, limits: Mapping[str, Row], now: datetime
) -> tuple[dict[str, Room], datetime]:
    """What is left of keys, and at which instant: by the database's clock where there is a rate."""
    rates = [key for key, limit in limits.items() if limit.IntervalMs is not None]
    clock = (await known.of(connection).read_clock(connection) if rates else None) or now
    unbegun = await asking.unbegun(connection, rates)
    rooms = {key: Room(limit, unbegun.get(key, 0), clock) for key, limit in limits.items()}
    return rooms, clock


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
