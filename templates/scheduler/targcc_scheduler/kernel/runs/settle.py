"""Settle: runs get their next states, with a row of history for each attempt that ended, and are counted.

Every way out of a claim comes through here: the outcome of an attempt, the rescue of a run whose worker was lost, the return of a claim
that nobody performs; and so does the end of a run that is cancelled while it waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import RunStateError
from ...core.states import TRANSITIONS, RunState
from ...db.dialects import known
from ...db.tables import job_log_line, job_run
from ...features.triage import error_groups
from ...features.triage.error_groups import Fingerprint, fingerprint_of
from .history import history_row
from .transition import state_line
from .values import ANY_TIE, LIMITED, NO_LIMIT, Ending, Settlement, Tied


async def settle(
    connection: AsyncConnection,
    settlements: Sequence[Settlement],
    now: datetime,
    *,
    untied: bool = False,
) -> list[Settlement]:
    """Give runs their next states; returns the settlements whose runs were still as they expect, in their order.

    What goes on of them is still to be submitted to the engine, and what hangs on them to be looked after, in the same transaction (see
    ``kernel/engine/submit.py``).

    Args:
        connection: The transaction.
        settlements: What is to be written.
        now: The present instant.
        untied: Leave out runs on which something hangs by now, or for the key of whose limit somebody waits: the connection commits by
            itself, so that nothing could follow in the same transaction.

    Raises:
        RunStateError: a run cannot get from the one state to the other.
    """
    causes = {_key(item): cause for item in settlements if (cause := _cause(item)) is not None}
    by_id = sorted(settlements, key=_key)  # locked in one order, so that no two wait for each other
    rows = [_row(item, now, causes.get(_key(item)), untied=untied) for item in by_id]
    histories = [
        None if item.attempt is None else history_row(item.claim, item.attempt) for item in by_id
    ]
    endings = [_ending(item, now) for item in by_id]
    written = await known.of(connection).settle_batch(connection, rows, histories, endings)
    settled = [
        _with_ties(item, written[key]) for item in settlements if (key := _key(item)) in written
    ]
    if causes:
        await error_groups.note(connection, _seen(settled, causes, now))
    if lines := [dict(line) for item in settled for line in item.log_lines]:
        await connection.execute(job_log_line.insert(), lines)
    return settled


async def settled_before(
    connection: AsyncConnection, tries: Sequence[tuple[Settlement, datetime]]
) -> list[Settlement]:
    """Those that were written by a try of which the writer did not hear whether it came through.

    Args:
        connection: A transaction, in which they have just been tried again.
        tries: Settlements, and the instants with which they were tried before.
    """
    ids = {item.claim.run_id for item, _ in tries}
    found = await connection.execute(
        sa.select(job_run.c.Id, job_run.c.LifeLog).where(job_run.c.Id.in_(ids))
    )
    changes = {row.Id: row.LifeLog.splitlines() for row in found}
    return [
        item
        for item, at in tries
        if state_line(at, item.state, item.note).rstrip("\n") in changes.get(item.claim.run_id, ())
    ]


def _ending(item: Settlement, now: datetime) -> Ending | None:
    """What the statistics count: the end of a run, or of an attempt after which it goes on."""
    attempt, claim = item.attempt, item.claim
    if not item.is_final and attempt is None:
        return None
    took = attempt.duration_ms if attempt is not None and attempt.success else None
    return Ending(
        job=claim.job_name,
        at=now if attempt is None else claim.started_at,
        outcome=item.state if item.is_final else RunState.RETRYING,
        duration_ms=took,
        retried=item.is_final and claim.attempt > 1,
    )


def _cause(item: Settlement) -> Fingerprint | None:
    """Why a run failed, for the inbox; ``None`` of one that did not."""
    if item.state != RunState.FAILED:
        return None
    trace = item.attempt.stack_trace if item.attempt is not None else None
    return fingerprint_of(item.claim.job_name, item.message, trace)


def _seen(
    settled: Sequence[Settlement], causes: Mapping[tuple[int, int], Fingerprint], now: datetime
) -> list[error_groups.Seen]:
    return [
        error_groups.Seen(causes[_key(item)], now, item.claim.run_id, item.claim.server_id)
        for item in settled
        if _key(item) in causes
    ]


def _with_ties(item: Settlement, tied: Tied) -> Settlement:
    return replace(item, **tied._asdict()) if tied.ties else item


def _key(item: Settlement) -> tuple[int, int]:
    return item.claim.run_id, item.claim.attempt


def _barred(item: Settlement) -> int:
    """The ties that a run may not have: nothing could follow. Where nobody waits for the key of its limit, nothing does."""
    return NO_LIMIT if item.claim.ties & LIMITED else ANY_TIE


def _row(
    item: Settlement, now: datetime, cause: Fingerprint | None, *, untied: bool
) -> dict[str, Any]:
    """What a settlement writes into the row of its run, and by what it finds it."""
    if item.state not in TRANSITIONS[item.source]:
        raise RunStateError(f"a run that is {item.source} cannot become {item.state}")
    done, total = item.progress or (None, None)
    return {
        "run_id": item.claim.run_id,
        "source": item.source,
        "server_id": item.claim.server_id,
        "attempt": item.claim.attempt,
        "state": item.state,
        "message": item.message,
        "completed_at": now if item.is_final else None,
        "last_server_id": item.claim.server_id if item.is_final else None,
        "due_at": item.due_at,
        "not_counted": 0 if item.counts else 1,
        "lost": int(item.cost_a_worker),
        "cancelled_by": item.cancelled_by,
        "done": done,
        "total": total,
        "cause": None if cause is None else cause.key,
        "line": state_line(now, item.state, item.note),
        "barred": _barred(item) if untied else 0,
    }
