"""What the runs of a key take, and which of those that wait for room are the most urgent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.states import RunState
from ...dialects import known
from ...dialects.frequent import FrequentStatement
from ...dialects.listed import is_among, listed
from ...runs.transition import OTHER, is_free, is_in_state, transition
from ...schema.tied.keys import job_limit
from ...tables import UtcDateTime, job_run
from ..tie import Tie
from .room import Room

Row = Any
"""A row of a table: its columns by name."""

_l = job_limit.c
_IS_KEY = is_among(_l.LimitKey, listed("keys", sa.Text))
TAKER = job_run.alias("taker")
"""The name of a run in what :func:`of_key` is given."""


def hidden(state: RunState) -> sa.ScalarSelect[Any]:
    """A state as PostgreSQL does not see it when it plans.

    Where few runs had it at the last ANALYZE, it would take the index of a state for the best, and read all runs of that state, of
    whatever key.
    """
    return sa.select(sa.literal_column(f"'{state}'")).scalar_subquery()


def asks(run: sa.FromClause) -> tuple[sa.ColumnElement[bool], ...]:
    """That a run waits for room and for nothing else."""
    waits = run.c.Ties.op("&")(sa.literal_column(str(int(Tie.ASKS)))) != 0
    return run.c.State == hidden(RunState.AWAITING), run.c.CompletedAt.is_(None), waits


def still_asks(is_one: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """That a run (in ``is_one`` its name is ``OTHER``) waits for room, and that nobody else has locked it; then it is locked.

    As it is locked in its state, the transition names all states from which a run may come: see :func:`hidden`.
    """
    return is_free(is_one, OTHER.c.State == hidden(RunState.AWAITING))


def keeps_room(run: sa.FromClause) -> sa.ColumnElement[bool]:
    """That a run has been let go and waits for a worker. In another state its ``RoomAt`` says nothing: nodes of an older release leave it as it was."""
    return sa.and_(is_in_state(RunState.ENQUEUED, of=run), run.c.RoomAt.is_not(None))


def has_room(run: sa.FromClause) -> sa.ColumnElement[bool]:
    """That a run takes room under its limit: it is running, or has been let go and waits for a worker."""
    return sa.or_(run.c.State == RunState.RUNNING, keeps_room(run))


def of_key(what: sa.ColumnElement[Any], *which: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    """Something of the runs of a key, under the name :data:`TAKER`. Key by key, as else SQLite looks at all runs that are not over."""
    return sa.select(what).where(TAKER.c.LimitKey == _l.LimitKey, *which).scalar_subquery()


def _urgent(run: sa.FromClause, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Runs that ask, the most urgent first."""
    return (
        sa.select(*columns).where(*asks(run)).order_by(run.c.Priority.desc(), run.c.DueAt, run.c.Id)
    )


HAS_ROOM: dict[str, Any] = {"RoomAt": sa.bindparam("now", type_=UtcDateTime)}
"""What changes in the row of a run that is let go."""
_CANDIDATE = ("Id", "Queue", "Priority", "DueAt", "Weight")
_runs = TAKER.c.State == hidden(RunState.RUNNING), TAKER.c.CompletedAt.is_(None)
# Not "that is not over": so no index serves but that of these few, however many runs of the key wait for a worker.
_keeps_room = TAKER.c.State == hidden(RunState.ENQUEUED), TAKER.c.RoomAt.is_not(None)
_weight = sa.func.coalesce(sa.func.sum(TAKER.c.Weight), 0)
TAKEN = of_key(_weight, *_runs) + of_key(_weight, *_keeps_room)
"""The weight of the runs of a key that are running, or have room and wait for a worker: each found by an index of its own."""
_TERMS = (
    _l.LimitKey,
    _l.Most,
    sa.type_coerce(_l.IntervalMs, sa.types.NullType()).label("IntervalMs"),  # as drivers have it
    _l.Burst,
    _l.NextAt,
    _l.WakeId,
    _l.IsAwaited,
)
_keys = (
    sa.select(
        *_TERMS,
        TAKEN.label("taken"),
        _urgent(OTHER, OTHER.c.Id)
        .where(OTHER.c.LimitKey == _l.LimitKey)
        .limit(sa.literal_column("1"))
        .scalar_subquery()
        .label("first_id"),
    )
    .where(_IS_KEY)
    .cte("keys")
)
_first = _keys.outerjoin(job_run, job_run.c.Id == _keys.c.first_id)
_FOUND = (*_keys.c, *(job_run.c[name] for name in _CANDIDATE))
_LOOK = FrequentStatement(sa.select(*_FOUND, sa.null().label("admitted")).select_from(_first))
_has_room = sa.or_(
    _keys.c.Most.is_(None),
    sa.and_(_keys.c.taken == 0, _keys.c.Most > 0),  # one that is heavier than the limit goes alone
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
    sa.select(_l.LimitKey, of_key(sa.func.count(), *_keeps_room).label("count")).where(_IS_KEY)
)
_NEXT = FrequentStatement(
    _urgent(job_run, *(job_run.c[name] for name in ("LimitKey", *_CANDIDATE)))
    .where(job_run.c.LimitKey == sa.bindparam("key", type_=sa.Text))
    .limit(sa.bindparam("count"))
)


async def look(connection: AsyncConnection, keys: Collection[str]) -> Mapping[str, Row]:
    """What there is of keys.

    Returns:
        For each its row, the weight of the runs that take room (``taken``), and the most urgent that asks (``Id``; ``None``: none does).
    """
    return _by_key(await _LOOK.all(connection, {"keys": list(keys)}))


async def look_and_admit(
    connection: AsyncConnection, keys: Collection[str], now: datetime, line: str
) -> Mapping[str, Row]:
    """The same, and where there is no rate, and room for the most urgent, that goes (``admitted``; else ``None``); on PostgreSQL."""
    asked = {"keys": list(keys), "now": now, "line": line}
    return _by_key(await _LOOK_AND_ADMIT.all(connection, asked))


async def rooms(
    connection: AsyncConnection, limits: Mapping[str, Row], now: datetime
) -> dict[str, Room]:
    """What is left of keys; where there is a rate, at the present instant by the database's clock.

    Args:
        connection: A transaction that keeps others from the keys.
        limits: What :func:`look` says of them.
        now: The present instant by this node's clock.
    """
    rates = [key for key, limit in limits.items() if limit.IntervalMs is not None]
    clock = (await known.of(connection).read_clock(connection) if rates else None) or now
    unbegun = await _unbegun(connection, rates)
    return {key: Room(limit, unbegun.get(key, 0), clock) for key, limit in limits.items()}


def _by_key(rows: Iterable[Row]) -> Mapping[str, Row]:
    return {row.LimitKey: row for row in rows}


async def _unbegun(connection: AsyncConnection, keys: Collection[str]) -> Mapping[str, int]:
    """How many runs of each key have room and have not begun."""
    if not keys:
        return {}
    return {row.LimitKey: row.count for row in await _UNBEGUN.all(connection, {"keys": list(keys)})}


async def urgent(connection: AsyncConnection, key: str, count: int) -> Sequence[Row]:
    """The ``count`` most urgent runs of a key that ask."""
    return await _NEXT.all(connection, {"key": key, "count": count})
