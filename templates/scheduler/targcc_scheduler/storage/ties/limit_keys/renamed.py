"""Keys of limits of jobs that were renamed: a job has one set of keys, by whichever of its names a release knows it.

A key begins with a job's name. Once the job has another name, a row of ``c_JobLimit`` says with which name its keys begin now. Every node
looks there before it lets runs ask for room, so a key does not have its room twice while nodes of both releases are up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...dialects import known
from ...dialects.frequent import FrequentStatement
from ...dialects.listed import is_among, listed
from ...schema.tied.keys import job_limit
from ...tables import job_run

MARK = "\x1f"
"""How the ``LimitKey`` of a row begins that says with which name the keys of a job begin; no name has such a character."""
_l, _r = job_limit.c, job_run.c
IS_KEY = sa.func.substr(_l.LimitKey, 1, 1) != MARK
"""That a row of ``c_JobLimit`` is a key's."""
_MOVED = FrequentStatement(
    sa.select(_l.LimitKey, _l.JobName).where(is_among(_l.LimitKey, listed("marks", sa.Text)))
)
_IS_ONE = is_among(_l.LimitKey, listed("keys", sa.Text))

Row = Any
"""A row of a table: its columns by name."""


async def beginnings(
    connection: AsyncConnection, names: Collection[str], jobs: Collection[str]
) -> dict[str, str]:
    """With which names the keys of jobs begin.

    Args:
        connection: The database.
        names: The jobs.
        jobs: All that the node knows: a job whose earlier name is another's leaves that one its keys.
    """
    rows = await _MOVED.all(connection, {"marks": [MARK + name for name in sorted(names)]})
    moved = {row.LimitKey.removeprefix(MARK): row.JobName for row in rows}
    return {name: name if moved.get(name) in jobs else moved.get(name, name) for name in names}


async def earlier_names(connection: AsyncConnection) -> dict[str, list[str]]:
    """The other names that jobs have had, by the name with which their keys begin."""
    query = sa.select(_l.LimitKey, _l.JobName).where(~IS_KEY).order_by(_l.LimitKey)
    found: dict[str, list[str]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.JobName, []).append(row.LimitKey.removeprefix(MARK))
    return found


async def keys_of(
    connection: AsyncConnection, rows: Collection[Row], jobs: Collection[str]
) -> tuple[dict[int, str], dict[str, str]]:
    """The keys that runs have now, which those get that have others.

    Args:
        connection: A transaction that writes, and has locked the runs.
        rows: Their ``Id``, ``JobName`` and ``LimitKey``.
        jobs: All that the node knows.

    Returns:
        For each run its key, and for each job the name with which its keys begin.
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
    """Say that the keys of a job begin with its new name, in a transaction of its own: so do all that ask once it has ended.

    A job that gets back a name that it had keeps the keys that it has.
    """
    begins = await beginnings(connection, [new, old], ())
    if begins[new] == begins[old]:
        return
    chained = sa.update(job_limit).where(~IS_KEY, _l.JobName == begins[old])
    await connection.execute(chained.values(JobName=begins[new], UpdatedAt=now))
    row = {"LimitKey": MARK + begins[old], "JobName": begins[new], "UpdatedAt": now}
    await connection.execute(known.of(connection).insert_ignore(job_limit, [_l.LimitKey]), [row])


async def carry(connection: AsyncConnection, new: str, old: str) -> None:
    """Let the runs of a renamed job that are not over, and the room and tokens of its keys, go on under the keys that it has now.

    Call it in a transaction after that of :func:`lead_on`, before the node lets runs ask: it waits for all that asked for room before.
    """
    begins = (await beginnings(connection, [new], ()))[new]
    names = {new, old, *(await earlier_names(connection)).get(begins, ())} - {begins}
    for name in sorted(names, key=len, reverse=True):
        theirs = (
            _r.LimitKey.is_not(None),
            _r.CompletedAt.is_(None),
            _is_of(_r.LimitKey, name),
            _r.JobName.in_({begins, *names}),
        )
        query = sa.select(_r.Id, _r.LimitKey).where(*theirs).order_by(_r.Id).with_for_update()
        found = {row.Id: row.LimitKey for row in await connection.execute(query)}
        await _rekey(connection, {key: _moved(found[key], [name], begins) for key in found})
        await _carry_rooms(connection, name, begins, names)


async def _carry_rooms(
    connection: AsyncConnection, name: str, begins: str, names: Collection[str]
) -> None:
    """Move the rows of keys; where there is one already, the bucket that is full later holds."""
    theirs = IS_KEY, _is_of(_l.LimitKey, name), _l.JobName.in_({begins, *names})
    query = sa.select(job_limit).where(*theirs).order_by(_l.LimitKey).with_for_update()
    rows = (await connection.execute(query)).all()
    if not rows:
        return
    wanted = {_moved(row.LimitKey, [name], begins): row for row in rows}
    query = sa.select(_l.LimitKey, _l.NextAt).where(_IS_ONE).order_by(_l.LimitKey)
    found = await connection.execute(query.with_for_update(), {"keys": list(wanted)})
    there = {row.LimitKey: row.NextAt for row in found}
    for key, row in wanted.items():
        if key in there:
            full_at = max(filter(None, (row.NextAt, there[key])), default=None)
            merged = {"NextAt": full_at, "IsAwaited": sa.true(), "Version": _l.Version + 1}
            await connection.execute(
                sa.update(job_limit).where(_l.LimitKey == key).values(**merged)
            )
    added = [
        {**row._asdict(), "LimitKey": key, "JobName": begins}
        for key, row in wanted.items()
        if key not in there
    ]
    if added:
        await connection.execute(sa.insert(job_limit), added)
    gone = {"keys": [row.LimitKey for row in rows]}
    await connection.execute(sa.delete(job_limit).where(_IS_ONE), gone)


async def _rekey(connection: AsyncConnection, keys: Mapping[int, str]) -> None:
    one = sa.update(job_run).where(_r.Id == sa.bindparam("run_id"))
    rows = [{"run_id": run_id, "key": key} for run_id, key in keys.items()]
    if rows:
        await connection.execute(one.values(LimitKey=sa.bindparam("key")), rows)


def _moved(key: str, names: Collection[str], to: str) -> str:
    """A key that begins with one of some names, with another."""
    for name in sorted(names, key=len, reverse=True):
        if _begins(key, name):
            return to + key[len(name) :]
    return key


def _begins(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name} ")


def _is_of(column: sa.Column[Any], name: str) -> sa.ColumnElement[bool]:
    """That a key begins with a name; for ``LIKE`` on SQLite, ``Sync`` and ``sync`` are one."""
    start = sa.func.substr(column, 1, len(name) + 1)
    return sa.or_(column == name, start == f"{name} ")
