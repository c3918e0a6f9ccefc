"""Insert runs under unique keys, decide deferred keys, and wake runs that wait for a key.

A run with undecided keys is ``scheduled``, and no claim takes the run. A node that knows the job computes the keys and takes
the unique key for the run; then the run may go. While another run has the unique key, the run is ``awaiting``.

Lock order: a transaction that waits for the lock of a key holds no run, since runs that are locked elsewhere are skipped. A transaction
that waits for the lock of a run holds no key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import ACTIVE, WAITING, RunState
from ..db.columns import UtcDateTime
from ..db.dialects.frequent import FrequentStatement, is_among, listed
from ..db.tables import job_run, job_unique
from . import idempotency, unique
from .jobs.options import QUEUED
from .limits import hidden
from .runs import create
from .runs.create import NOT_REFUSED, refused_by
from .runs.transition import OTHER, is_free, is_in_state, state_line, transition
from .runs.values import (
    ASKS,
    IS_LIMIT,
    Effects,
    NewRun,
    Ready,
    RunId,
    Settlement,
    Tie,
    over,
    waits_for,
)
from .unique import Keys, Pair, Standing

# Deciding the keys of flow steps: a flow creates the runs of its steps on nodes that may lack the code of the job.

MOST = 500
"""Maximum number of runs that :func:`look` returns."""

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
    """Return due runs with undecided keys, most urgent first.

    Runs that a node with this fingerprint has refused are left out.
    """
    return await _DUE.all(connection, {"now": now, "refused": refused_by(fingerprint)})


def asked(row: Any, keys: Keys) -> NewRun:
    """Build a run from a row of :func:`look` and its keys; the run waits while another run has its unique key."""
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
    """Take the unique keys of runs, as far as the keys are free, and let these runs go.

    Args:
        connection: A transaction that writes, and has locked nothing yet.
        runs: The runs that :func:`asked` builds, by id.
        now: The present instant.

    Returns:
        The runs that may go, for the engine.
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
    """Let runs go that have their keys; return the runs that still asked and that no other transaction had locked."""
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
    """Let runs wait while other runs have their unique keys.

    A run waits for the end of the run that has the key, or, if that run is over, until the key is free. A key that has become free is
    taken at the next look.

    Args:
        connection: A transaction that writes, and has locked nothing yet.
        runs: The runs that :func:`asked` builds, by id.
        now: The present instant.

    Returns:
        The number of waiting runs, and those runs among them that ask again at a given instant, for the engine.
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
        await _WAIT.counts(
            connection,
            [_waits(asking_id, asking[asking_id], waits[asking_id], now) for asking_id in waits],
        )
    if later:
        times = [
            {"run_id": asking_id, "unique_key": asking[asking_id][1], "due": later[asking_id]}
            for asking_id in later
        ]
        await _ASK_LATER.counts(connection, times)
    ready = [
        replace(_ready(run_id, runs[run_id]), due_at=due, asks=True)
        for run_id, due in later.items()
    ]
    return len(waits) + len(later), ready


def _waits(run_id: int, pair: Pair, holder_id: int, now: datetime) -> dict[str, Any]:
    """Return the parameters of ``_WAIT`` for a run."""
    line = state_line(now, RunState.AWAITING, f"run {holder_id} has its unique key")
    return {"run_id": run_id, "unique_key": pair[1], "mark": waits_for(pair[1]), "line": line}


def _pair(run: NewRun) -> Pair | None:
    return None if run.unique is None else (run.job_name, run.unique.key)


def _ready(run_id: int, run: NewRun) -> Ready:
    return Ready(run_id, run.queue, run.priority, run.due_at)


# Inserting runs, unless an existing run stands for them: by unique key, or by idempotency key.


@dataclass(frozen=True, slots=True)
class Inserted:
    """Result of inserting runs.

    Args:
        ids: For each requested run, the id of the new run or of the existing run that stands for the requested run.
        new: The new runs, with their ids.
        moved: Existing runs that stand for requested runs and are due at another time now.
    """

    ids: list[RunId]
    new: list[tuple[RunId, NewRun]]
    moved: list[Ready]

    @property
    def ready(self) -> list[Ready]:
        """The runs to submit to the engine: new runs that wait for a worker or their due time, and moved runs."""
        new = [
            Ready(run_id, run.queue, run.priority, run.due_at)
            for run_id, run in self.new
            if run.state in WAITING
        ]
        return new + self.moved


async def insert_many(
    connection: AsyncConnection, runs: Sequence[NewRun], now: datetime
) -> Inserted:
    """Create runs without slots, unless existing runs stand for them.

    Raises:
        IdempotencyError: the idempotency key belongs to a call for another job or other arguments.
    """
    if not any(run.unique or run.call for run in runs):
        return await _insert(connection, runs, now)
    by_call = sorted(
        enumerate(runs), key=_call_of
    )  # in key order, so that two transactions cannot deadlock
    called = {
        place: run_id
        for place, run in by_call
        if (run_id := await idempotency.take(connection, run, now)) is not None
    }
    left = {place: run for place, run in enumerate(runs) if place not in called}
    ids, new, moved = await _insert_keyed(connection, left, now)
    named = {run.call.key: ids[place] for place, run in left.items() if run.call is not None}
    await idempotency.give(connection, named)
    ids |= {place: RunId.of(run_id, existing=True) for place, run_id in called.items()}
    return Inserted([ids[place] for place in range(len(runs))], new, moved)


async def _insert_keyed(
    connection: AsyncConnection, runs: dict[int, NewRun], now: datetime
) -> tuple[dict[int, RunId], list[tuple[RunId, NewRun]], list[Ready]]:
    """Insert runs by their positions; runs with the same unique key become one run.

    Returns:
        The id for each position, the new runs, and the moved runs.
    """
    places, wanted = _by_key(runs)
    outcomes = await unique.take(connection, wanted, now)
    new = {place: run for place, run in runs.items() if run.unique is None}
    standing = {}
    for pair, outcome in outcomes.items():
        if isinstance(outcome, Standing):
            standing[pair] = outcome
        else:
            new[places[pair][0]] = outcome
    order = sorted(new)
    made = await _insert(connection, [new[place] for place in order], now)
    ids = dict(zip(order, made.ids, strict=True))
    await unique.give(connection, {run_id: new[place] for place, run_id in ids.items()})
    for pair, positions in places.items():
        run_id = standing[pair].run_id if pair in standing else ids[positions[0]]
        others = positions if pair in standing else positions[1:]
        ids |= {place: RunId.of(run_id, existing=True) for place in others}
    return (
        ids,
        made.new,
        [standing_run.moved for standing_run in standing.values() if standing_run.moved],
    )


def _call_of(placed: tuple[int, NewRun]) -> str:
    call = placed[1].call
    return "" if call is None else call.key


def _by_key(
    runs: dict[int, NewRun],
) -> tuple[dict[Pair, list[int]], dict[Pair, NewRun]]:
    """Group runs by unique key: the positions of each key, and the run to insert for the key."""
    places: dict[Pair, list[int]] = {}
    wanted: dict[Pair, NewRun] = {}
    for place, run in runs.items():
        if run.unique is None:
            continue
        pair = run.job_name, run.unique.key
        places.setdefault(pair, []).append(place)
        first, rule = wanted.setdefault(pair, run), run.unique.rule
        if rule is not None and rule.duplicate != "skip":
            wanted[pair] = replace(first, arguments_json=run.arguments_json, contents=run.contents)
    return places, wanted


async def _insert(connection: AsyncConnection, runs: Sequence[NewRun], now: datetime) -> Inserted:
    ids = await create.insert_many(connection, runs, now) if runs else []
    return Inserted(ids, list(zip(ids, runs, strict=True)), [])


async def insert_slots(
    connection: AsyncConnection,
    runs: Sequence[NewRun],
    now: datetime,
    *,
    record_skipped: bool = True,
) -> dict[create.Slot, int]:
    """Create the runs of slots.

    If another run has the unique key, the slot is recorded as skipped; ``record_skipped=False`` leaves the slot out.

    Returns:
        The ids of the new runs by slot, without skipped slots.
    """
    made: dict[create.Slot, int] = {}
    while runs:
        some, runs = _one_of_each_key(runs)
        wanted = {pair: run for run in some if (pair := _pair(run)) is not None}
        outcomes = await unique.take(connection, wanted, now)
        held = {
            pair: outcome.run_id
            for pair, outcome in outcomes.items()
            if isinstance(outcome, Standing)
        }
        rows = [
            _skipped(run, held[pair]) if (pair := _pair(run)) in held else run
            for run in some
            if record_skipped or _pair(run) not in held
        ]
        ids = await create.insert_slots(connection, rows, now)
        new = {ids[slot]: run for run in some if (slot := _slot(run)) in ids}
        goes = {run_id: run for run_id, run in new.items() if _pair(run) not in held}
        made |= {_slot(run): run_id for run_id, run in goes.items()}
        await unique.give(connection, goes)
        had_one = wanted.keys() - held.keys() - {_pair(run) for run in goes.values()}
        await unique.leave(connection, had_one)
    return made


def _one_of_each_key(runs: Sequence[NewRun]) -> tuple[list[NewRun], list[NewRun]]:
    """Split runs into the first run of each unique key, which can be decided now, and the later runs of the same keys."""
    seen: set[Pair] = set()
    some: list[NewRun] = []
    later: list[NewRun] = []
    for run in runs:
        pair = _pair(run)
        (later if pair in seen else some).append(run)
        seen |= {pair} if pair is not None else set()
    return some, later


def _slot(run: NewRun) -> create.Slot:
    assert run.scheduled_for is not None
    return run.job_name, run.scheduled_for


def _skipped(run: NewRun, holder: int) -> NewRun:
    """Return the slot's run as skipped, because the run ``holder`` has its unique key."""
    note = f"run {holder} has its unique key"
    return replace(
        run,
        state=RunState.SKIPPED,
        note=note,
        blocked_by=holder,
        arguments_json=None,
        unique=None,
        expires_at=None,
    )


# Waking runs that wait for a unique key: once the key may be free, the next waiting run asks for the key again.
#
# The run that has the key, and each run that waits for the key, has the flag ``Tie.KEYED``. ``wait`` sets the flag while it holds the lock
# of the run that has the key, after it has seen that the run still has the key. The transaction that ends that run then finds the flag. So
# no run waits for a run that is over.

_MOST_SWEPT = 500
_waiting, _u = job_run.c, job_unique.c
_WAITS = sa.and_(
    _waiting.LimitKey.is_not(None),
    _waiting.CompletedAt.is_(None),
    _waiting.State == hidden(RunState.AWAITING),
)
_KEYS_OF = FrequentStatement(
    sa.select(_waiting.JobName, _waiting.UniqueKey).where(
        is_among(_waiting.Id, listed("ids", sa.BigInteger)), _waiting.UniqueKey.is_not(None)
    )
)
_LEFT_AT_BEGIN = FrequentStatement(
    sa.select(_u.JobName, _u.UniqueKey).where(
        is_among(_u.RunId, listed("ids", sa.BigInteger)),
        _u.Scope == sa.literal_column(f"'{QUEUED}'"),
    )
)
_NEXT = FrequentStatement(
    sa.select(_waiting.Id, _waiting.Queue, _waiting.Priority)
    .where(
        _waiting.LimitKey == sa.bindparam("mark", type_=sa.Text),
        _waiting.JobName == sa.bindparam("job", type_=sa.Text),
        _WAITS,
    )
    .order_by(_waiting.Priority.desc(), _waiting.DueAt, _waiting.Id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_ASK_AGAIN = FrequentStatement(
    transition(
        RunState.SCHEDULED,
        _waiting.Id == sa.bindparam("run_id"),
        sources=[RunState.AWAITING],
        LimitKey=sa.literal_column(f"'{ASKS}'"),
    ).returning(_waiting.Id)
)
_holder = job_run.alias("holder")
_IS_HELD = (
    sa.exists()
    .where(
        _u.JobName == _waiting.JobName, _u.UniqueKey == _waiting.UniqueKey, _holder.c.Id == _u.RunId
    )
    .where(_holder.c.State.in_(sorted(ACTIVE)))
    .where(
        sa.or_(
            _u.Scope != QUEUED,
            sa.and_(_holder.c.State != RunState.RUNNING, _holder.c.Attempt == 0),
        )
    )
)
_UNHEARD = (
    sa.select(_waiting.JobName, _waiting.UniqueKey)
    .where(is_in_state(RunState.AWAITING), _WAITS, sa.not_(IS_LIMIT), sa.not_(_IS_HELD))
    .distinct()
)


async def on_settled(
    connection: AsyncConnection, settled: Sequence[Settlement], now: datetime
) -> Effects:
    """Wake runs that wait for the unique keys of final runs."""
    ids = list(over(settled, Tie.KEYED))
    if not ids:
        return Effects()
    return await _wake(connection, await _KEYS_OF.all(connection, {"ids": ids}), now)


async def begun(connection: AsyncConnection, run_ids: Sequence[int], now: datetime) -> Effects:
    """Wake runs that wait for the unique keys of runs that have begun; only keys of scope ``queued`` become free at that moment."""
    return await _wake(connection, await _LEFT_AT_BEGIN.all(connection, {"ids": run_ids}), now)


async def removed(connection: AsyncConnection, rows: Sequence[Any], now: datetime) -> Effects:
    """Wake runs that wait for the unique keys of runs that a person removed; ``rows`` are the removed rows as they were."""
    keyed = [row for row in rows if row.Ties & Tie.KEYED and row.UniqueKey is not None]
    return await _wake(connection, keyed, now)


async def any_missed(connection: AsyncConnection) -> bool:
    """Return whether a run waits for a unique key which has become free."""
    return (await connection.execute(_UNHEARD.limit(1))).first() is not None


async def sweep(connection: AsyncConnection, now: datetime) -> Effects:
    """Wake runs that wait for a unique key which has become free without a settlement telling them."""
    keys = (await connection.execute(_UNHEARD.limit(_MOST_SWEPT))).all()
    return await _wake(connection, keys, now)


async def _wake(connection: AsyncConnection, rows: Iterable[Any], now: datetime) -> Effects:
    """Let the next run that waits for each key ask again."""
    ready = []
    pairs: set[Pair] = {(row.JobName, row.UniqueKey) for row in rows}
    for job, key in sorted(pairs):
        for row in await _NEXT.all(connection, {"mark": waits_for(key), "job": job}):
            line = state_line(now, RunState.SCHEDULED, "its unique key may be free")
            await _ASK_AGAIN.all(connection, {"run_id": row.Id, "line": line})
            ready.append(Ready(row.Id, row.Queue, row.Priority, now, asks=True))
    return Effects(ready=ready)
