"""Runs that ask for their keys: of a step of a flow, whose runs are made where its job's code is not at hand.

Such a run is ``scheduled``, and no claim takes it. A node that knows its job says what its keys are, and takes the unique one for it; then
it goes. While another run has the unique key, it is ``awaiting``: see ``waiting.py``.

Who waits for a key holds no run: a run that somebody else holds is passed over. Who waits for a run holds no key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.states import ACTIVE, RunState
from ...dialects.frequent import FrequentStatement
from ...runs.stage import NOT_REFUSED, refused_by
from ...runs.transition import OTHER, is_free, is_in_state, state_line, transition
from ...runs.values import NewRun
from ...tables import UtcDateTime, job_run
from ..consequences import Ready
from ..tie import Tie
from . import unique
from .marks import ASKS, waits_for
from .unique import Pair
from .wanted import Keys

MOST = 500
"""Runs that are looked at together."""

_r = job_run.c
_IS_MARKED = _r.LimitKey == sa.literal_column(f"'{ASKS}'")
_DUE = FrequentStatement(
    sa.select(
        *(_r.Id, _r.JobName, _r.JobType, _r.Queue, _r.Priority),
        *(_r.ArgumentsJson, _r.DueAt, _r.ExpiresAt, _r.TriggeredBy),
    )
    .where(
        _IS_MARKED,
        is_in_state(RunState.SCHEDULED),
        _r.CompletedAt.is_(None),
        _r.DueAt <= sa.bindparam("now", type_=UtcDateTime),
        NOT_REFUSED,
    )
    .order_by(_r.Priority.desc(), _r.DueAt, _r.Id)
    .limit(MOST)
)
_STILL_ASKS = is_free(
    OTHER.c.Id == sa.bindparam("run_id"),
    OTHER.c.LimitKey == sa.literal_column(f"'{ASKS}'"),
    OTHER.c.State == sa.literal_column(f"'{RunState.SCHEDULED}'"),
)
_KEY = sa.bindparam("unique_key", type_=sa.Unicode(200))


def _tied(ties: int) -> sa.ColumnElement[int]:
    return _r.Ties.op("|")(sa.literal_column(str(int(ties))))


_UNLIMITED = _r.Ties.op("&")(sa.literal_column(str(~int(Tie.LIMITED))))
_HAS_KEYS = {
    "UniqueKey": _KEY,
    "LimitKey": sa.bindparam("limit_key", type_=sa.Unicode(200)),
    "Weight": sa.bindparam("weight"),
    "Ties": sa.case((sa.bindparam("limited", type_=sa.Integer) == 1, _r.Ties), else_=_UNLIMITED),
}
_GO = FrequentStatement(
    transition(
        RunState.ENQUEUED,
        _STILL_ASKS,
        sources=[RunState.SCHEDULED],
        **_HAS_KEYS,
    )
)
_GO_LATER = FrequentStatement(
    sa.update(job_run)
    .where(_STILL_ASKS)
    .values(
        DueAt=sa.bindparam("due", type_=UtcDateTime),
        ExpiresAt=sa.bindparam("expires", type_=UtcDateTime),
        **_HAS_KEYS,
    )
)
_WAIT = FrequentStatement(
    transition(
        RunState.AWAITING,
        _STILL_ASKS,
        sources=[RunState.SCHEDULED],
        UniqueKey=_KEY,
        LimitKey=sa.bindparam("mark", type_=sa.Unicode(200)),
        Ties=_tied(Tie.KEYED | Tie.ASKS),
    )
)
_ASK_LATER = FrequentStatement(
    sa.update(job_run)
    .where(_STILL_ASKS)
    .values(UniqueKey=_KEY, DueAt=sa.bindparam("due", type_=UtcDateTime))
)


async def look(connection: AsyncConnection, now: datetime, fingerprint: str) -> Sequence[Any]:
    """The rows of runs that ask now, the most urgent first, but for those that a node with this fingerprint has refused."""
    return await _DUE.all(connection, {"now": now, "refused": refused_by(fingerprint)})


def asked(row: Any, keys: Keys) -> NewRun:
    """A run that asks, as it is to be with its keys."""
    rule = keys.unique
    return NewRun(
        job_name=row.JobName,
        job_type=row.JobType,
        queue=row.Queue,
        priority=row.Priority,
        due_at=row.DueAt,
        triggered_by=row.TriggeredBy,
        expires_at=row.ExpiresAt,
        limit_key=keys.limit_key,
        weight=keys.weight,
        unique=None if rule is None else replace(rule, waits=True),
    )


async def take(
    connection: AsyncConnection, runs: Mapping[int, NewRun], now: datetime
) -> list[Ready]:
    """Take the keys of runs, as far as nobody has them; those that have theirs, for the engine.

    Args:
        connection: A transaction that writes, and holds nothing yet.
        runs: As :func:`asked` makes them, by their ids.
        now: The present instant.
    """
    first: dict[Pair, int] = {}
    for run_id, run in runs.items():
        if (pair := _pair(run)) is not None:
            first.setdefault(pair, run_id)
    wanted = {pair: runs[run_id] for pair, run_id in first.items()}
    outcomes = await unique.take(connection, wanted, now)
    got = {run_id: run for run_id, run in runs.items() if run.unique is None}
    got |= {first[pair]: run for pair, run in outcomes.items() if isinstance(run, NewRun)}
    gone = await _let_go(connection, got, now)
    await unique.give(connection, gone)
    left = [pair for run_id in got.keys() - gone.keys() if (pair := _pair(got[run_id]))]
    await unique.leave(connection, left)
    return [_ready(run_id, run) for run_id, run in gone.items()]


async def _let_go(
    connection: AsyncConnection, runs: Mapping[int, NewRun], now: datetime
) -> dict[int, NewRun]:
    """Let runs go that have their keys; those that still asked, and that nobody else holds."""
    line = state_line(now, RunState.ENQUEUED, "has its keys")
    at_once: dict[int, dict[str, Any]] = {}
    later: dict[int, dict[str, Any]] = {}
    for run_id, run in runs.items():
        values = {
            "run_id": run_id,
            "unique_key": run.unique and run.unique.key,
            "limit_key": run.limit_key,
            "weight": run.weight,
            "limited": int(run.limit_key is not None),
        }
        if run.due_at <= now:
            at_once[run_id] = values | {"line": line}
        else:
            later[run_id] = values | {"due": run.due_at, "expires": run.expires_at}
    counts = await _GO.counts(connection, at_once.values()) if at_once else []
    counts += await _GO_LATER.counts(connection, later.values()) if later else []
    went = zip([*at_once, *later], counts, strict=True)
    return {run_id: runs[run_id] for run_id, count in went if count}


async def wait(
    connection: AsyncConnection, runs: Mapping[int, NewRun], now: datetime
) -> tuple[int, list[Ready]]:
    """Let runs wait whose unique keys others have: for the end of those, or until a while after that.

    A key that is free by now is taken at the next look.

    Args:
        connection: A transaction that writes, and holds nothing yet.
        runs: As :func:`asked` makes them, by their ids.
        now: The present instant.

    Returns:
        How many wait, and those of them that ask again at an instant, for the engine.
    """
    asking = {run_id: pair for run_id, run in runs.items() if (pair := _pair(run)) is not None}
    holders = await unique.held(connection, set(asking.values()))
    waits: dict[int, int] = {}
    later: dict[int, datetime] = {}
    for run_id, pair in asking.items():
        rule, holder = runs[run_id].unique, holders.get(pair)
        if rule is None or holder is None or not unique.is_held(holder, rule.rule, now):
            continue
        if holder.State in ACTIVE:
            waits[run_id] = holder.RunId
        else:
            later[run_id] = unique.free_at(holder, rule.rule)
    await unique.tie(connection, set(waits.values()))
    if waits:
        await _WAIT.counts(connection, [_waits(one, asking[one], waits[one], now) for one in waits])
    if later:
        times = [{"run_id": one, "unique_key": asking[one][1], "due": later[one]} for one in later]
        await _ASK_LATER.counts(connection, times)
    ready = [
        replace(_ready(run_id, runs[run_id]), due_at=due, asks=True)
        for run_id, due in later.items()
    ]
    return len(waits) + len(later), ready


def _waits(run_id: int, pair: Pair, holder_id: int, now: datetime) -> dict[str, Any]:
    """The parameters by which a run waits for its key."""
    line = state_line(now, RunState.AWAITING, f"run {holder_id} has its unique key")
    return {"run_id": run_id, "unique_key": pair[1], "mark": waits_for(pair[1]), "line": line}


def _pair(run: NewRun) -> Pair | None:
    return None if run.unique is None else (run.job_name, run.unique.key)


def _ready(run_id: int, run: NewRun) -> Ready:
    return Ready(run_id, run.queue, run.priority, run.due_at)
