"""Execute bulk operations in short transactions, in any free process: a node, or the command that began the operation.

Each transaction locks the operation's row, so no two processes execute the same step. If a process dies, another process
continues.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.exc import DataError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.numbers import interval_of
from ...core.outage import OUTAGES, in_short
from ...core.states import UNBEGUN
from ...kernel import error_groups, pauses
from ...kernel.engine.port import Engine
from ...kernel.engine.submit import carry_out, followers_of
from ...kernel.jobs.definition import JobDefinition
from . import bulk, bulk_queries
from .bulk import Row, Step

log = logging.getLogger("targcc.triage.bulk_steps")

CHUNK = 200
"""Maximum number of runs in a transaction, so that other writers get a turn."""


@dataclass(frozen=True, slots=True)
class Work:
    """Context for a step in its transaction.

    Args:
        connection: The transaction.
        engine: The engine that receives submissions and withdrawals of runs.
        now: The present instant.
        jobs: Known jobs by name.
    """

    connection: AsyncConnection
    engine: Engine
    now: datetime
    jobs: Mapping[str, JobDefinition]


async def step(work: Work, bulk_id: int) -> bool:
    """Process an operation's next runs. If an error other than an outage occurs, the operation ends as failed.

    Returns:
        Whether runs remain.
    """
    row = await bulk.take(work.connection, bulk_id)
    if row is None:
        return False
    try:
        async with work.connection.begin_nested():
            more = await _do(work, row)
    except Exception as error:
        if isinstance(error, OUTAGES) and not isinstance(error, DataError):
            raise
        log.exception("operation %d on many runs failed", bulk_id)
        await bulk.end(work.connection, bulk_id, bulk.FAILED, work.now, in_short(error))
        return False
    if not more:
        await bulk.end(work.connection, bulk_id, bulk.DONE, work.now)
    return more


async def _do(work: Work, row: Any) -> bool:
    options = json.loads(row.OptionsJson)
    if row.Undoes is not None:
        return await _undo_step(work, row)
    if row.Action == "pause":
        await _pause_jobs(work, row, options)
        return False
    return await _step(work, row, options)


async def _step(work: Work, row: Any, options: dict[str, Any]) -> bool:
    newest_first = options.get("order") == "newest"
    ids = await bulk_queries.next_ids(
        work.connection,
        bulk_queries.filter_of(row.FilterJson),
        place=row.Place,
        ceiling=row.Ceiling,
        newest_first=newest_first,
        most=CHUNK,
    )
    if not ids:
        return False
    rows = await bulk.rows(work.connection, ids)
    came_of_it = await _act(work, row, options, rows)
    await carry_out(work.engine, work.connection, came_of_it, work.now)
    refused = len(ids) - len(came_of_it.did)
    await bulk.advance(work.connection, row, came_of_it.did, place=ids[-1], refused=refused)
    return len(ids) == CHUNK


async def _act(work: Work, row: Any, options: dict[str, Any], rows: Sequence[Row]) -> Step:
    connection, by, now = work.connection, row.Actor, work.now
    dues, note = _dues(row, options, now, rows), options.get("note") or "discarded"
    acts = {
        "retry": lambda: bulk.retry(
            connection, rows, by, now, dues, then=followers_of(work.jobs, by, now)
        ),
        "run-now": lambda: bulk.run_now(connection, rows, by, now, dues),
        "cancel": lambda: bulk.cancel(connection, rows, by, now),
        "delete": lambda: bulk.delete(connection, rows, now),
        "queue": lambda: bulk.move(connection, rows, queue=options["queue"]),
        "priority": lambda: bulk.move(connection, rows, priority=options["priority"]),
        "discard": lambda: bulk.discard(connection, rows, by, note, now),
    }
    return await acts[row.Action]()


def _dues(row: Any, options: dict[str, Any], now: datetime, rows: Sequence[Row]) -> list[datetime]:
    """Return the runs' due instants: now without a rate, else spaced at the rate from the operation's start."""
    apart = interval_of(options.get("rate"), row.Total)
    if not apart:
        return [now] * len(rows)
    return [max(now, row.StartedAt + apart * (row.Done + place)) for place in range(len(rows))]


async def _pause_jobs(work: Work, row: Any, options: dict[str, Any]) -> None:
    matches = await bulk_queries.find(work.connection, bulk_queries.filter_of(row.FilterJson))
    paused = await pauses.paused_jobs(work.connection, work.now)
    did = []
    for number, job in enumerate(sorted(matches.jobs.keys() - paused), 1):
        await pauses.pause_job(
            work.connection,
            job,
            Actor(row.Actor),
            work.now,
            reason=options.get("note"),
            until=None,
        )
        did.append(bulk.Did(-number, previous=job))
    refused = len(matches.jobs) - len(did)
    await bulk.advance(work.connection, row, did, place=row.Ceiling, refused=refused)


async def _undo_step(work: Work, row: Any) -> bool:
    undone = await bulk.get(work.connection, row.Undoes)
    did = await bulk.done_to(work.connection, row.Undoes, row.Place, CHUNK)
    if not did:
        return False
    came_of_it = await _take_back(work, row, undone.Action, did)
    await carry_out(work.engine, work.connection, came_of_it, work.now)
    await bulk.advance(
        work.connection,
        row,
        came_of_it.did,
        place=did[-1].run_id,
        refused=len(did) - len(came_of_it.did),
    )
    return len(did) == CHUNK


async def _take_back(work: Work, row: Any, action: str, did: Sequence[bulk.Did]) -> Step:
    connection, by, now = work.connection, row.Actor, work.now
    if action == "pause":
        for one in did:
            await pauses.resume_job(connection, one.previous or "", now)
        return Step(did=did)
    if action == "discard":
        await error_groups.reopen(connection, [one.run_id for one in did])
        return Step(did=did)
    if action == "retry":
        return await _take_back_retries(work, by, did)
    rows = await bulk.rows(connection, [one.run_id for one in did])
    if action == "cancel":
        dues = [now] * len(rows)
        return await bulk.retry(connection, rows, by, now, dues, waiting=True)
    before = {one.run_id: one.previous or "" for one in did}
    steps = []
    for value in sorted(set(before.values())):
        some = [one for one in rows if before[one.Id] == value]
        to: dict[str, Any] = {"queue": value} if action == "queue" else {"priority": int(value)}
        steps.append(await bulk.move(connection, some, **to))
    return Step(
        did=sorted((one for step in steps for one in step.did), key=lambda one: one.run_id),
        submit=[one for step in steps for one in step.submit],
        withdraw=[one for step in steps for one in step.withdraw],
    )


async def _take_back_retries(work: Work, by: str, did: Sequence[bulk.Did]) -> Step:
    """Cancel reruns that have not begun, and reopen the original runs."""
    new = {item.new_run_id: item.run_id for item in did if item.new_run_id is not None}
    rows = await bulk.rows(work.connection, sorted(new))
    waiting = [item for item in rows if item.State in UNBEGUN]
    cancelled = await bulk.cancel(work.connection, waiting, by, work.now)
    back = [new[item.run_id] for item in cancelled.did]
    await error_groups.reopen(work.connection, back)
    return Step(
        did=[bulk.Did(run_id) for run_id in sorted(back)],
        withdraw=cancelled.withdraw,
        settled=cancelled.settled,
    )
