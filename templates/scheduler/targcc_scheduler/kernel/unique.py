"""Unique keys: compute, take and release the key that lets one run at a time exist."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import IdempotencyError, RunStateError
from ..core.states import UNBEGUN, RunState
from ..db.columns import UtcDateTime
from ..db.dialects import known
from ..db.dialects.base import SAVEPOINT
from ..db.dialects.frequent import changed, is_among, listed
from ..db.tables import job_run, job_unique
from ..schedules.words import format_duration, parse_duration
from . import blobs
from .jobs.definition import JobDefinition
from .jobs.options import QUEUED, RUNNING, Unique, digest_of
from .runs.transition import is_in_state
from .runs.values import CallKey, NewRun, Ready, Tie, UniqueKey

# Expiry, unique key and idempotency key of a run, from the options of its job and of the enqueue call.

LONGEST_CALL_KEY = 200
"""Maximum length of an idempotency key, in characters."""


def expiry(
    job: JobDefinition, due_at: datetime, expires_in: timedelta | str | None = None
) -> datetime | None:
    """Return the latest start of a run; ``None``: no limit.

    Args:
        job: The job of the run; its ``expires_in`` is the default.
        due_at: When the run is due.
        expires_in: How long after ``due_at`` the run may start.

    Raises:
        ValueError: ``expires_in`` is no duration above 0.
    """
    limit = parse_duration(expires_in) if isinstance(expires_in, str) else expires_in
    if limit is None:
        limit = job.expires_in
    if limit is None:
        return None
    if limit <= timedelta():
        raise ValueError("expires_in is a duration above 0")
    return due_at + limit


def unique_key(job: JobDefinition, arguments_json: str | None) -> UniqueKey | None:
    """Return the unique key of a run; ``None`` if the run has no unique key."""
    rule = job.unique
    key = None if rule is None else rule.key(job.signature, arguments_json)
    return None if key is None else UniqueKey(key, rule)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a run.

    Args:
        unique: The unique key.
        limit_key: The key of the run's limit.
        weight: How much capacity the run takes.
    """

    unique: UniqueKey | None
    limit_key: str | None
    weight: int


def has_keys(job: JobDefinition) -> bool:
    """Return whether runs of a job may have keys."""
    return job.unique is not None or job.keyed_limit is not None


def keys_of(job: JobDefinition, arguments_json: str | None) -> Keys:
    """Compute the keys of a run whose arguments were filled in by a flow.

    Raises:
        ArgumentsError: the arguments do not fit the job, or the limit key cannot be computed from the arguments.
        JobError: the unique key cannot be computed.
    """
    signature = job.signature
    whole = signature.check(
        signature.plain(arguments_json)
    )  # adds defaults, and converts values to the declared types
    return Keys(unique_key(job, whole), **job.room(whole))


def call_key(
    job: JobDefinition, arguments_json: str | None, key: str | None, caller: str | None = None
) -> CallKey | None:
    """Return the idempotency key of a call; ``None`` if the caller gave no key.

    Args:
        job: The job of the run.
        arguments_json: The arguments of the run.
        key: The key that the caller gave.
        caller: The caller that owns the key; ``None``: all callers share the key.

    Raises:
        IdempotencyError: the key is empty or too long.
    """
    if key is None:
        return None
    if not 1 <= len(key) <= LONGEST_CALL_KEY:
        raise IdempotencyError(f"an idempotency key has 1 to {LONGEST_CALL_KEY} characters")
    plain = job.signature.plain(arguments_json)
    former = tuple(digest_of([name, plain]) for name in job.aliases)
    kept = key if caller is None else digest_of([caller, key])
    return CallKey(kept, digest_of([job.name, plain]), key, former)


# Unique keys: the primary key of ``c_JobUnique`` lets one run of a job have a key; the row of that run says for how long.
#
# A key is free once the run that has the key is over, has begun, or is gone, depending on the rule of the new run. The new run takes over
# the row, if the row still belongs to the run that was looked at. So nothing has to be done when a run ends. A process that dies, or code
# that knows nothing of keys, leaves nothing behind. The row is deleted when its run is removed.

Pair: TypeAlias = tuple[str, str]
"""The name of a job, and a unique key."""

NOBODY = 0
"""``RunId`` of a row whose run is about to be inserted in the same transaction."""
_MOST_TRIES = 1_000
_u, _r = job_unique.c, job_run.c


@dataclass(frozen=True, slots=True)
class Standing:
    """An existing run that has a key and stands for a requested run.

    Args:
        run_id: The id of the existing run.
        moved: The existing run as a submission, if its due time changed.
    """

    run_id: int
    moved: Ready | None = None


Outcome: TypeAlias = NewRun | Standing
"""Result for a requested run: the run to insert, or the existing run that stands for it."""

_IS_ASKED = sa.and_(
    is_among(_u.JobName, listed("jobs", sa.Text)), is_among(_u.UniqueKey, listed("keys", sa.Text))
)
_HOLDERS = (
    sa.select(_u.JobName, _u.UniqueKey, _u.RunId, _u.Until)
    .add_columns(_r.State, _r.Attempt, _r.StartedAt, _r.CompletedAt, _r.Queue, _r.Priority)
    .select_from(job_unique.outerjoin(job_run, _r.Id == _u.RunId))
    .where(_IS_ASKED)
)
_LOCK = (
    sa.select(_u.JobName, _u.UniqueKey)
    .where(_IS_ASKED, is_among(_u.RunId, listed("runs", sa.BigInteger)))
    .order_by(_u.JobName, _u.UniqueKey)  # in key order, so that two transactions cannot deadlock
    .with_for_update()
)
_ARE_RUNS = is_among(_r.Id, listed("runs", sa.BigInteger))
_LOCK_RUNS = (
    sa.select(_r.Id.label("RunId"), _r.State, _r.Attempt, _r.CompletedAt)
    .where(_ARE_RUNS)
    .order_by(_r.Id)
    .with_for_update()
)
_TIE = sa.update(job_run).where(_ARE_RUNS).values(Ties=_r.Ties.bitwise_or(int(Tie.KEYED)))
_GIVE = (
    sa.update(job_unique)
    .where(_u.JobName == sa.bindparam("job"), _u.UniqueKey == sa.bindparam("key"))
    .values(
        RunId=sa.bindparam("run_id"),
        Scope=sa.bindparam("scope"),
        Until=sa.bindparam("until", type_=UtcDateTime),
    )
)


async def take(
    connection: AsyncConnection, wanted: Mapping[Pair, NewRun], now: datetime
) -> dict[Pair, Outcome]:
    """Take keys for runs that are about to be inserted; afterwards call :func:`give` with the ids of the runs.

    Args:
        connection: The transaction.
        wanted: The requested run for each key.
        now: The present instant.

    Returns:
        For each key, the run to insert, or the existing run that stands for the requested run.

    Raises:
        RunStateError: other transactions keep taking and leaving a key.
    """
    outcomes: dict[Pair, Outcome] = {}
    undoes = await _keeps_locks(connection)
    savepoint = known.of(connection).savepoint if undoes else SAVEPOINT
    is_saved = undoes and len(wanted) > 1  # keys that this call inserts are locks, too
    if is_saved:
        await connection.execute(savepoint.set)
    for _ in range(_MOST_TRIES):
        left = {pair: wanted[pair] for pair in wanted.keys() - outcomes.keys()}
        outcomes |= {pair: _first(left[pair], now) for pair in await _insert(connection, left)}
        holders = await _holders(connection, left.keys() - outcomes.keys())
        outcomes |= _unchanged(holders, wanted, now)
        if outcomes.keys() == wanted.keys():
            break
        if undoes and not is_saved:
            await connection.execute(savepoint.set)
            is_saved = True
        others = {pair: row for pair, row in holders.items() if pair not in outcomes}
        outcomes |= await _among_others(connection, others, wanted, now)
        if outcomes.keys() == wanted.keys():
            break
        if is_saved:
            # PostgreSQL keeps the locks of rows that no longer meet a statement's condition once it has waited for them. A transaction that
            # waits for a key must hold no run and no later key, and one that waits for a run must hold no key.
            await connection.execute(savepoint.undo)
            outcomes = {}
    else:
        raise RunStateError("the key of a unique run is taken and left again all the time")
    if is_saved and savepoint.release is not None:
        await connection.execute(savepoint.release)
    return outcomes


async def _keeps_locks(connection: AsyncConnection) -> bool:
    """Return whether other transactions may wait for locks of this transaction.

    On SQLite, or where each statement commits by itself, no transaction waits, and a savepoint would be a mistake: SQLite takes a
    savepoint that begins a transaction for the whole transaction, and commits when the savepoint is released.
    """
    if not known.of(connection).many_writers:
        return False
    driver = (await connection.get_raw_connection()).dbapi_connection
    return not getattr(driver, "autocommit", False)


async def give(connection: AsyncConnection, runs: Mapping[int, NewRun]) -> None:
    """Store the ids of the inserted runs in the keys that :func:`take` took."""
    rows = [
        {
            "job": run.job_name,
            "key": run.unique.key,
            "run_id": run_id,
            "scope": _scope(run.unique.rule),
            "until": run.due_at if _is(run.unique.rule, "throttle") else None,
        }
        for run_id, run in runs.items()
        if run.unique is not None
    ]
    if rows:
        await connection.execute(_GIVE, rows)


async def leave(connection: AsyncConnection, pairs: Iterable[Pair]) -> None:
    """Delete keys that were taken although the runs were not inserted."""
    for job, key in pairs:
        is_it = sa.and_(_u.JobName == job, _u.UniqueKey == key, _u.RunId == NOBODY)
        await connection.execute(sa.delete(job_unique).where(is_it))


async def _insert(connection: AsyncConnection, pairs: Collection[Pair]) -> set[Pair]:
    """Insert rows of keys; return the keys that had no row."""
    if not pairs:
        return set()
    insert = known.of(connection).insert_ignore(job_unique, [_u.JobName, _u.UniqueKey])
    rows = [
        {"JobName": job, "UniqueKey": key, "RunId": NOBODY, "Scope": RUNNING}
        for job, key in sorted(pairs)
    ]
    new = await connection.execute(insert.values(rows).returning(_u.JobName, _u.UniqueKey))
    return {(row.JobName, row.UniqueKey) for row in new}


async def _holders(connection: AsyncConnection, pairs: Collection[Pair]) -> dict[Pair, Any]:
    """Read the rows of keys, each with the run that has the key; a key that was left meanwhile has no row."""
    if not pairs:
        return {}
    parameters = {"jobs": {job for job, _ in pairs}, "keys": {key for _, key in pairs}}
    rows = (await connection.execute(_HOLDERS, parameters)).all()
    return {pair: row for row in rows if (pair := (row.JobName, row.UniqueKey)) in pairs}


def _unchanged(
    holders: Mapping[Pair, Any], wanted: Mapping[Pair, NewRun], now: datetime
) -> dict[Pair, Outcome]:
    """Return the runs that stand for requested runs as they are, without a lock."""
    return {
        pair: Standing(holder.RunId)
        for pair, holder in holders.items()
        if is_held(holder, rule := _rule(wanted[pair]), now)
        and not _changes(holder, wanted[pair], rule)
    }


async def _among_others(
    connection: AsyncConnection,
    holders: Mapping[Pair, Any],
    wanted: Mapping[Pair, NewRun],
    now: datetime,
) -> dict[Pair, Outcome]:
    """Change the runs that have keys, or take their keys; leave out keys that other transactions took or left meanwhile."""
    outcomes: dict[Pair, Outcome] = {}
    free: dict[Pair, Any] = {}
    for pair in sorted(holders, key=lambda pair: holders[pair].RunId):
        holder, run = holders[pair], wanted[pair]
        if not is_held(holder, _rule(run), now):
            free[pair] = holder
        elif (standing := await _stand(connection, holder, run, now)) is not None:
            outcomes[pair] = standing
    if free:
        parameters = {"jobs": {job for job, _ in free}, "keys": {key for _, key in free}}
        runs = {holder.RunId for holder in free.values()}
        locked = await connection.execute(_LOCK, {**parameters, "runs": runs})
        locked_pairs = {(row.JobName, row.UniqueKey) for row in locked} & free.keys()
        outcomes |= {pair: _after(free[pair], wanted[pair], now) for pair in locked_pairs}
    return outcomes


async def held(connection: AsyncConnection, pairs: Collection[Pair]) -> dict[Pair, Any]:
    """Lock the runs that have keys, in id order, and return their rows by key, with the columns that :func:`is_held` reads."""
    parameters = {"jobs": {job for job, _ in pairs}, "keys": {key for _, key in pairs}}
    rows = await connection.execute(sa.select(job_unique).where(_IS_ASKED), parameters)
    run_ids = {(row.JobName, row.UniqueKey): row.RunId for row in rows}
    ids = {"runs": {run_ids[pair] for pair in pairs if pair in run_ids}}
    runs = {row.RunId: row for row in await connection.execute(_LOCK_RUNS, ids)}
    return {pair: runs[run_id] for pair in pairs if (run_id := run_ids.get(pair)) in runs}


async def tie(connection: AsyncConnection, run_ids: Collection[int]) -> None:
    """Set the flag ``Tie.KEYED`` on locked runs, to record that other runs wait for the unique keys."""
    if run_ids:
        await connection.execute(_TIE, {"runs": run_ids})


def free_at(holder: Any, rule: Unique | None) -> datetime:
    """Return when the key of a run that is over becomes free."""
    ended: datetime = holder.CompletedAt
    return ended if rule is None else ended + rule.window


def is_held(holder: Any, rule: Unique | None, now: datetime) -> bool:
    """Return whether the run that has a key keeps a new run with this rule from the key."""
    if holder.State is None:
        return False
    if holder.State in UNBEGUN or holder.State == RunState.RUNNING:
        return not _has_begun(holder) or rule is None or rule.scope != QUEUED
    ended: datetime | None = holder.CompletedAt
    if rule is None or not rule.window or holder.State != RunState.SUCCEEDED or ended is None:
        return False  # even if the run ended after ``now``: the call waited for the database
    return bool(ended + rule.window > now)


def _has_begun(holder: Any) -> bool:
    return bool(holder.State == RunState.RUNNING or holder.Attempt > 0)


async def _stand(
    connection: AsyncConnection, holder: Any, run: NewRun, now: datetime
) -> Standing | None:
    """Give a run that has a key the arguments of a new run, and with ``debounce`` its due time.

    Returns:
        The existing run; ``None`` if the existing run has begun meanwhile.
    """
    rule = _rule(run)
    values: dict[str, Any] = {"ArgumentsJson": run.arguments_json}
    moves = _is(rule, "debounce") and holder.State == RunState.SCHEDULED
    if moves:
        run = _first(run, now)
        values |= {"DueAt": run.due_at, "ExpiresAt": run.expires_at}
    still = RunState(holder.State)
    change = (
        sa.update(job_run)
        .where(_r.Id == holder.RunId, is_in_state(still), _r.Attempt == 0)
        .values(values)
    )
    if await changed(connection, change) != 1:
        return None
    if run.contents:
        await blobs.add(connection, holder.RunId, run.contents, now)
    moved = Ready(holder.RunId, holder.Queue, holder.Priority, run.due_at) if moves else None
    return Standing(holder.RunId, moved)


def _changes(holder: Any, run: NewRun, rule: Unique | None) -> bool:
    """Return whether a new run changes the run that has its key."""
    waits = run.unique is not None and run.unique.waits
    return not (rule is None or waits or rule.duplicate == "skip" or _has_begun(holder))


def _rule(run: NewRun) -> Unique | None:
    return None if run.unique is None else run.unique.rule


def _first(run: NewRun, now: datetime) -> NewRun:
    """Return a run that takes a free key: ``debounce`` postpones the run."""
    rule = _rule(run)
    return _due(run, now + rule.wait, now) if rule and rule.duplicate == "debounce" else run


def _after(holder: Any, run: NewRun, now: datetime) -> NewRun:
    """Return a run that takes over a key from a former holder: ``throttle`` and ``debounce`` postpone the run."""
    rule = _rule(run)
    if rule is None or rule.duplicate != "throttle":
        return _first(run, now)
    began: datetime | None = holder.StartedAt
    return _due(run, holder.Until if began is None else began + rule.wait, now)


def _due(run: NewRun, earliest: datetime | None, now: datetime) -> NewRun:
    """Return the run, postponed so that it is due no earlier than ``earliest``."""
    if earliest is None or earliest <= max(run.due_at, now):
        return run
    later = earliest - run.due_at
    return replace(
        run,
        due_at=earliest,
        expires_at=None if run.expires_at is None else run.expires_at + later,
        state=RunState.SCHEDULED if run.state is RunState.ENQUEUED else run.state,
    )


def _is(rule: Unique | None, duplicate: str) -> bool:
    return rule is not None and rule.duplicate == duplicate


def _scope(rule: Unique | None) -> str:
    if rule is None:
        return RUNNING
    return format_duration(rule.window) if rule.window else rule.scope
