"""What the runs of a key take, and which of those that wait for room are the most urgent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.states import RunState
from ...dialects.frequent import FrequentStatement
from ...dialects.listed import is_among, listed
from ...runs.transition import OTHER, is_free, transition
from ...schema.tied.keys import job_limit
from ...tables import job_run
from ..tie import Tie

Row = Any
"""A row of a table: its columns by name."""

_l = job_limit.c
_IS_KEY = is_among(_l.LimitKey, listed("keys", sa.Text))
_taker = job_run.alias("taker")


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


def _of_key(what: sa.ColumnElement[Any], is_one: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    """Something of the runs of a key. Key by key, as else SQLite looks at all runs that are not over."""
    return (
        sa.select(what)
        .where(_taker.c.LimitKey == _l.LimitKey, is_one, _taker.c.CompletedAt.is_(None))
        .scalar_subquery()
    )


def _urgent(run: sa.FromClause, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Runs that ask, the most urgent first."""
    return (
        sa.select(*columns).where(*asks(run)).order_by(run.c.Priority.desc(), run.c.DueAt, run.c.Id)
    )


_CANDIDATE = ("Id", "Queue", "Priority", "DueAt", "Weight")
_takes_room = _taker.c.State.in_([hidden(RunState.ENQUEUED), hidden(RunState.RUNNING)])
_is_unbegun = _taker.c.State == hidden(RunState.ENQUEUED)
_TERMS = (
    _l.LimitKey,
    _l.Most,
    sa.type_coerce(_l.IntervalMs, sa.types.NullType()).label("IntervalMs"),  # as drivers have it
    _l.Burst,
    _l.NextAt,
    _l.WakeId,
)
_keys = (
    sa.select(
        *_TERMS,
        _of_key(sa.func.sum(_taker.c.Weight), _takes_room).label("taken"),
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
    sa.and_(
        _keys.c.taken.is_(None), _keys.c.Most > 0
    ),  # one that is heavier than the limit goes alone
    job_run.c.Weight <= _keys.c.Most - _keys.c.taken,
)
_with_room = sa.select(job_run.c.Id).select_from(_first)
_with_room = _with_room.where(_keys.c.IntervalMs.is_(None), _has_room)
_admitted = (
    transition(RunState.ENQUEUED, still_asks(OTHER.c.Id.in_(_with_room)))
    .returning(job_run.c.Id)
    .cte("admitted")
)
_LOOK_AND_ADMIT = FrequentStatement(
    sa.select(*_FOUND, _admitted.c.Id.label("admitted")).select_from(
        _first.outerjoin(_admitted, _admitted.c.Id == _keys.c.first_id)
    )
)
_UNBEGUN = FrequentStatement(
    sa.select(_l.LimitKey, _of_key(sa.func.count(), _is_unbegun).label("count")).where(_IS_KEY)
)
_NEXT = FrequentStatement(
    _urgent(job_run, *(job_run.c[name] for name in ("LimitKey", *_CANDIDATE)))
    .where(job_run.c.LimitKey == sa.bindparam("key", type_=sa.Text))
    .limit(sa.bindparam("count"))
)


async def look(connection: AsyncConnection, keys: Collection[str]) -> Mapping[str, Row]:
    """What there is of keys.

    Returns:
        For each its row, the weight of the runs that take room (``taken``; ``None``: none does), and the most urgent that asks (``Id``; ``None``: none does).
    """
    return _by_key(await _LOOK.all(connection, {"keys": list(keys)}))


async def look_and_admit(
    connection: AsyncConnection, keys: Collection[str], line: str
) -> Mapping[str, Row]:
    """The same, and where there is no rate, and room for the most urgent, that goes (``admitted``; else ``None``); on PostgreSQL."""
    return _by_key(await _LOOK_AND_ADMIT.all(connection, {"keys": list(keys), "line": line}))


def _by_key(rows: Iterable[Row]) -> Mapping[str, Row]:
    return {row.LimitKey: row for row in rows}


async def unbegun(connection: AsyncConnection, keys: Collection[str]) -> Mapping[str, int]:
    """How many runs of each key have room and have not begun."""
    if not keys:
        return {}
    return {row.LimitKey: row.count for row in await _UNBEGUN.all(connection, {"keys": list(keys)})}


async def urgent(connection: AsyncConnection, key: str, count: int) -> Sequence[Row]:
    """The ``count`` most urgent runs of a key that ask."""
    return await _NEXT.all(connection, {"key": key, "count": count})
