"""Limit keys of renamed jobs, and removal of unused keys.

A limit key begins with the name of a job. Once the job is renamed, a row of ``c_JobLimit`` (a mark) says with which name the keys of the
job begin now. Every node reads that row before it lets runs ask for capacity. So a key has its capacity only once while nodes of both
releases are up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..db.dialects import known
from ..db.dialects.frequent import FrequentStatement, changed, is_among, listed
from ..db.tables import job_limit, job_run

# Renamed jobs: a job has one set of keys under all its names.

MARK = "\x1f"
"""Prefix of the ``LimitKey`` of a row that says with which name the keys of a job begin; no job name has this character."""
_TURN = "limits/renamed"
"""Name of the lock that each renaming takes: two renamings that cross would each give the keys to the other name."""
_l, _r = job_limit.c, job_run.c
IS_KEY = sa.func.substr(_l.LimitKey, 1, 1) != MARK
"""Condition: a row of ``c_JobLimit`` is the row of a key, not a mark."""
_MOVED = FrequentStatement(
    sa.select(_l.LimitKey, _l.JobName).where(is_among(_l.LimitKey, listed("marks", sa.Text)))
)
_IS_ONE = is_among(_l.LimitKey, listed("keys", sa.Text))

Row = Any
"""A row of a table: its columns by name."""


async def beginnings(
    connection: AsyncConnection, names: Collection[str], jobs: Collection[str]
) -> dict[str, str]:
    """Return, for each job, the name at the beginning of its keys.

    Args:
        connection: The database.
        names: The jobs.
        jobs: All jobs that the node knows. If a former name now belongs to another job, the keys stay with that other job.
    """
    rows = await _MOVED.all(connection, {"marks": [MARK + name for name in sorted(names)]})
    moved = {row.LimitKey.removeprefix(MARK): row.JobName for row in rows}
    return {name: name if moved.get(name) in jobs else moved.get(name, name) for name in names}


async def earlier_names(connection: AsyncConnection) -> dict[str, list[str]]:
    """Return the former names of jobs, by the name at the beginning of their keys."""
    query = sa.select(_l.LimitKey, _l.JobName).where(~IS_KEY).order_by(_l.LimitKey)
    names: dict[str, list[str]] = {}
    for row in await connection.execute(query):
        names.setdefault(row.JobName, []).append(row.LimitKey.removeprefix(MARK))
    return names


async def keys_of(
    connection: AsyncConnection, rows: Collection[Row], jobs: Collection[str]
) -> tuple[dict[int, str], dict[str, str]]:
    """Return the keys that runs have now; runs with keys under a former name get the current keys.

    Args:
        connection: A transaction that writes, and has locked the runs.
        rows: ``Id``, ``JobName`` and ``LimitKey`` of the runs.
        jobs: All jobs that the node knows.

    Returns:
        The key of each run, and for each job the name at the beginning of its keys.
    """
    begins = await beginnings(connection, {row.JobName for row in rows}, jobs)
    keys = {row.Id: row.LimitKey for row in rows}
    others = [row for row in rows if not _begins(row.LimitKey, begins[row.JobName])]
    if others:
        had = await earlier_names(connection)
        for row in others:
            to = begins[row.JobName]
            keys[row.Id] = _moved(row.LimitKey, [row.JobName, *had.get(to, ())], to)
        await _rekey(connection, {row.Id: keys[row.Id] for row in others})
    return keys, begins


async def lead_on(connection: AsyncConnection, new: str, old: str, now: datetime) -> None:
    """Let the keys of a job begin with its new name, in a transaction of its own.

    All runs that ask after this transaction do so under the new name, and runs under way are moved to the new name. A job that gets back
    a former name keeps the keys that it has.
    """
    await known.of(connection).lock_job(connection, _TURN)
    begins = await beginnings(connection, [new, old], ())
    to, before = begins[new], begins[old]
    if to == before:
        return
    had = await earlier_names(connection)
    names = {new, old, before, *had.get(to, ()), *had.get(before, ())} - {to}
    await _carry(connection, names, to)  # lock order: runs before keys and marks
    chained = sa.update(job_limit).where(~IS_KEY, _l.JobName == before)
    await connection.execute(chained.values(JobName=to, UpdatedAt=now))
    row = {"LimitKey": MARK + before, "JobName": to, "UpdatedAt": now}
    await connection.execute(known.of(connection).insert_ignore(job_limit, [_l.LimitKey]), [row])


async def carry(connection: AsyncConnection, new: str, old: str) -> None:
    """Move the runs of a renamed job that are not over, and capacity and tokens of its keys, to the current keys.

    Call this function in a transaction after the transaction of :func:`lead_on`, before the node lets runs ask. Runs that were created
    meanwhile, and asked before the new name was visible, are moved too.
    """
    begins = (await beginnings(connection, [new], ()))[new]
    names = {new, old, *(await earlier_names(connection)).get(begins, ())} - {begins}
    await _carry(connection, names, begins)


async def _carry(connection: AsyncConnection, names: Collection[str], begins: str) -> None:
    """Move runs and rows of keys from some names to another name."""
    await _carry_runs(connection, names, begins)
    await _carry_rooms(connection, names, begins)
    # A transaction that holds keys waits for no runs. Skip locked runs: these runs began while the first call waited.
    await _carry_runs(connection, names, begins, waits=False)


async def _carry_runs(
    connection: AsyncConnection, names: Collection[str], begins: str, *, waits: bool = True
) -> None:
    conditions = (
        _r.LimitKey.is_not(None),
        _r.CompletedAt.is_(None),
        _is_of(_r.LimitKey, names),
        _r.JobName.in_({begins, *names}),
    )
    query = sa.select(_r.Id, _r.LimitKey).where(*conditions).order_by(_r.Id)
    rows = await connection.execute(query.with_for_update(skip_locked=not waits))
    await _rekey(connection, {row.Id: _moved(row.LimitKey, names, begins) for row in rows})


async def _carry_rooms(connection: AsyncConnection, names: Collection[str], begins: str) -> None:
    """Move the rows of keys; if the new key has a row already, the bucket that is full later holds."""
    conditions = IS_KEY, _is_of(_l.LimitKey, names), _l.JobName.in_({begins, *names})
    keys = await connection.scalars(sa.select(_l.LimitKey).where(*conditions))
    wanted = {key: _moved(key, names, begins) for key in keys}
    rows = await _hold(connection, {*wanted, *wanted.values(), *(MARK + name for name in names)})
    moved: dict[str, list[Row]] = {}
    for key, to in sorted(wanted.items()):
        if key in rows:
            moved.setdefault(to, []).append(rows[key])
    added = []
    for to, some in moved.items():
        all_ = [rows[to], *some] if to in rows else some
        values = all_[0]._asdict() | {"LimitKey": to, "JobName": begins}
        if len(all_) > 1:
            full_at = max(filter(None, (row.NextAt for row in all_)), default=None)
            values |= {"NextAt": full_at, "IsAwaited": True, "Version": all_[0].Version + 1}
        if to in rows:
            await connection.execute(sa.update(job_limit).where(_l.LimitKey == to).values(**values))
        else:
            added.append(values)
    if added:  # a row that another transaction made meanwhile stays
        await connection.execute(
            known.of(connection).insert_ignore(job_limit, [_l.LimitKey]), added
        )
    gone = {"keys": [row.LimitKey for some in moved.values() for row in some]}
    await connection.execute(sa.delete(job_limit).where(_IS_ONE), gone)


async def _hold(connection: AsyncConnection, keys: Collection[str]) -> dict[str, Row]:
    """Lock the existing rows of keys and marks in key order, and return them by key."""
    query = sa.select(job_limit).where(_IS_ONE).order_by(_l.LimitKey).with_for_update()
    rows = await connection.execute(query, {"keys": list(keys)})
    return {row.LimitKey: row for row in rows}


async def _rekey(connection: AsyncConnection, keys: Mapping[int, str]) -> None:
    statement = sa.update(job_run).where(_r.Id == sa.bindparam("run_id"))
    rows = [{"run_id": run_id, "key": key} for run_id, key in keys.items()]
    if rows:
        await connection.execute(statement.values(LimitKey=sa.bindparam("key")), rows)


def _moved(key: str, names: Collection[str], to: str) -> str:
    """Return a key with the name at its beginning replaced by ``to``, if that name is one of ``names``."""
    for name in sorted(names, key=len, reverse=True):
        if _begins(key, name):
            return to + key[len(name) :]
    return key


def _begins(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name} ")


def _is_of(column: sa.Column[Any], names: Collection[str]) -> sa.ColumnElement[bool]:
    """Return the condition that a key begins with one of the names. ``LIKE`` would treat ``Sync`` and ``sync`` as equal on SQLite."""
    starts = [sa.func.substr(column, 1, len(name) + 1) == f"{name} " for name in sorted(names)]
    return sa.or_(column.in_(names), *starts)


# Pruning: remove rows of unused keys; the next run of such a key creates the row anew.

_limit = job_limit.c
_IS_USED = sa.exists().where(job_run.c.LimitKey == _limit.LimitKey, job_run.c.CompletedAt.is_(None))


async def prune(
    connection: AsyncConnection, now: datetime, *, after: str, most: int
) -> tuple[int, str | None]:
    """Look at up to ``most`` keys, and delete each key that has all its tokens and no unfinished run.

    The next run of such a key finds all capacity and all tokens, with or without the row. The keys are locked; keys that another
    transaction has locked to admit runs are skipped. A run that asks meanwhile waits for the lock, finds no row, and creates the row.

    Args:
        connection: A transaction that writes.
        now: The present instant.
        after: The last key of the previous call; empty at first.
        most: Maximum number of keys to look at.

    Returns:
        The number of deleted keys, and the last key that was looked at; ``None``: there are no more keys.
    """
    page = (
        sa.select(_limit.LimitKey)
        .where(_limit.LimitKey > after)
        .order_by(_limit.LimitKey)
        .limit(most)
    )
    keys = list(await connection.scalars(page))
    if not keys:
        return 0, None
    locking = sa.select(_limit.LimitKey).where(_IS_ONE, IS_KEY).order_by(_limit.LimitKey)
    free = await connection.scalars(locking.with_for_update(skip_locked=True), {"keys": keys})
    held = list(free)
    clock = await known.of(connection).read_clock(connection) or now
    # A separate statement: on PostgreSQL it sees the runs that asked until the rows were locked.
    is_full = sa.or_(_limit.NextAt.is_(None), _limit.NextAt <= clock)
    unused = sa.delete(job_limit).where(_IS_ONE, ~_IS_USED, is_full)
    gone = await changed(connection, unused, {"keys": held})
    return gone, keys[-1] if len(keys) == most else None
