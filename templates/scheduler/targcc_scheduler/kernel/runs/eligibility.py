"""Refuse runs of jobs or arguments that a node does not know; the runs wait, unchanged, for a node that knows them.

A refusal is a line in the column ``RefusedBy``: ``<fingerprint> <instant> <node> <release> <why>``, separated by tabs. The fingerprint
identifies the jobs and arguments that the node knows (see ``kernel/node/releases.py``): no node with that fingerprint is offered the run
again. When a run begins, its refusals are cleared: each attempt is offered to every node. A refusal is no transition, so the state history
does not record refusals.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import RunStateError, UnknownRun
from ...core.languages import Localized
from ...core.states import WAITING, RunState
from ...db.columns import UtcDateTime
from ...db.dialects import known
from ...db.tables import job_run, job_server
from .claim import Row, claim_of
from .create import NOT_REFUSED, refused_by
from .settle import settle
from .transition import is_in_state
from .values import AttemptRecord, Claim, ClaimTerms, Misfit, Settlement

LOCK = "\N{SECTION SIGN} definitions of nodes"
"""Lock name for transactions that refuse a run and transactions that register a node's fingerprint. Neither can miss the other.

No job has this name.
"""

_ALERTED = "\talerted"
_MOST = 500
"""Maximum number of runs to offer, report or give up at a time."""

_WAITS = is_in_state(*sorted(WAITING), by_index=False)
_REFUSE = (
    sa.update(job_run)
    .where(
        job_run.c.Id == sa.bindparam("run_id"),
        job_run.c.JobName == sa.bindparam("job_name"),  # skip a job renamed meanwhile
        _WAITS,
        NOT_REFUSED,
    )
    .values(
        RefusedBy=sa.func.coalesce(job_run.c.RefusedBy, "")
        + sa.bindparam("entry", type_=sa.UnicodeText),
        UnknownSince=sa.func.coalesce(
            job_run.c.UnknownSince, sa.bindparam("now", type_=UtcDateTime)
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server's refusal of a run: the server did not know the job, or the arguments did not fit."""

    fingerprint: str
    at: str
    node: str
    release: str
    why: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A refused run that waits for another node."""

    run_id: int
    queue: str
    priority: int
    due_at: datetime


def refusals_of(text: str | None) -> tuple[Refusal, ...]:
    """Parse the column ``RefusedBy``."""
    entries = (line.split("\t") for line in (text or "").splitlines())
    return tuple(Refusal(*entry) for entry in entries if len(entry) == len(fields(Refusal)))


async def refuse(
    connection: AsyncConnection, misfits: Sequence[Misfit], terms: ClaimTerms
) -> tuple[list[Waiting], list[Waiting]]:
    """Record that a node does not know these runs.

    Args:
        connection: The transaction in which the runs were offered.
        misfits: The runs, with the reasons.
        terms: The terms of the claim.

    Returns:
        Two lists of runs to offer again: refused runs that another registered node may know, and runs whose job was renamed since the
        offer (these are not refused).
    """
    if not misfits:
        return [], []
    await known.of(connection).lock_job(connection, LOCK)
    now, who = terms.now.isoformat(timespec="milliseconds"), terms.identity
    for item in misfits:
        entry = "\t".join(map(_plain, (who.fingerprint, now, who.node, who.release, item.why)))
        await connection.execute(
            _REFUSE,
            {
                "run_id": item.run_id,
                "job_name": item.job_name,
                "refused": refused_by(who.fingerprint),
                "now": terms.now,
                "entry": f"{entry}\n",
            },
        )
    again = await _renamed(connection, misfits)
    refused = {item.run_id for item in misfits} - {run.run_id for run in again}
    return await _for_others(connection, refused), again


async def _renamed(connection: AsyncConnection, misfits: Sequence[Misfit]) -> list[Waiting]:
    names, c = {item.run_id: item.job_name for item in misfits}, job_run.c
    query = sa.select(c.Id, c.Queue, c.Priority, c.DueAt, c.JobName)
    rows = await connection.execute(query.where(c.Id.in_(names), _WAITS))
    return [
        Waiting(row.Id, row.Queue, row.Priority, row.DueAt)
        for row in rows
        if row.JobName != names[row.Id]
    ]


async def _for_others(connection: AsyncConnection, run_ids: Collection[int]) -> list[Waiting]:
    """Return the runs that a registered node may still know: the node takes from the queue of the run and has not refused the run."""
    rows = await connection.execute(
        sa.select(job_server.c.Fingerprint, job_server.c.Queues).where(
            job_server.c.Fingerprint.is_not(None)
        )
    )
    nodes = [(row.Fingerprint, _names(row.Queues)) for row in rows]
    runs = await connection.execute(_waiting(job_run.c.Id.in_(run_ids)))
    return [
        Waiting(row.Id, row.Queue, row.Priority, row.DueAt)
        for row in runs
        if any(
            row.Queue in queues and fingerprint not in (row.RefusedBy or "")
            for fingerprint, queues in nodes
        )
    ]


async def not_asked_yet(
    connection: AsyncConnection, fingerprint: str, queues: Iterable[str], after: int = 0
) -> list[Waiting]:
    """Return runs that other nodes refused and no node with this fingerprint did, in order of ids, at most ``_MOST`` at a time.

    ``after`` is the last id of the previous call.
    """
    number = sa.func.coalesce(job_run.c.Id, 0)  # SQLite would read all runs in the order of ids
    rows = await connection.execute(
        _waiting(
            job_run.c.UnknownSince.is_not(None),
            job_run.c.RefusedBy.not_like(refused_by(fingerprint)),
            job_run.c.Queue.in_(list(queues)),
            number > after,
        )
        .order_by(number)
        .limit(_MOST)
    )
    return [Waiting(row.Id, row.Queue, row.Priority, row.DueAt) for row in rows]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Waiting times of the runs that no node knows.

    Args:
        since: Start of the longest wait; ``None``: no such run.
        untold_since: Start of the longest wait among the runs without an alert; ``None``: no such run.
    """

    since: datetime | None
    untold_since: datetime | None


_UNTOLD = sa.case((job_run.c.RefusedBy.not_like(f"%{_ALERTED}%"), job_run.c.UnknownSince))
_IS_UNKNOWN = sa.and_(job_run.c.UnknownSince.is_not(None), _WAITS)
ARE_UNKNOWN = sa.exists().where(_IS_UNKNOWN)
"""Match if any run waits for a node that knows the run."""
_UNKNOWN = sa.select(
    sa.func.min(job_run.c.UnknownSince, type_=UtcDateTime()),
    sa.func.min(_UNTOLD, type_=UtcDateTime()),
).where(_IS_UNKNOWN)


async def unknown(connection: AsyncConnection) -> Unknown:
    """Return the start of the longest wait for a node that knows a run."""
    return Unknown(*(await connection.execute(_UNKNOWN)).one())


async def to_tell(connection: AsyncConnection, before: datetime) -> dict[str, list[Row]]:
    """Return, by job, the runs without an alert that no node has known since before an instant; mark the runs as alerted."""
    c = job_run.c
    rows = await connection.execute(
        sa.update(job_run)
        .where(
            c.Id.in_(
                sa.select(c.Id)
                .where(
                    c.UnknownSince <= before,
                    _WAITS,
                    c.RefusedBy.not_like(f"%{_ALERTED}%"),
                )
                .order_by(c.Id)
                .limit(_MOST)
                .with_for_update(skip_locked=True)
            )
        )
        .values(RefusedBy=c.RefusedBy + f"{_ALERTED}\n")
        .returning(*c)
    )
    runs_by_job: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row.Id)):
        runs_by_job.setdefault(row.JobName, []).append(row)
    return runs_by_job


async def give_up(
    connection: AsyncConnection, now: datetime, waited: timedelta, limits: Mapping[str, int]
) -> list[Settlement]:
    """Fail the runs that no node has known for the time ``waited``; return the settlements for the engine and for alerts."""
    rows = await connection.execute(
        sa.select(job_run)
        .where(job_run.c.UnknownSince <= now - waited, _WAITS)
        .order_by(job_run.c.Id)
        .limit(_MOST)
        .with_for_update(skip_locked=True)
    )
    return await settle(connection, [_given_up(row, now, limits) for row in rows], now)


async def fail(
    connection: AsyncConnection, run_id: int, by: str, now: datetime
) -> list[Settlement]:
    """Fail a run that no node knows, at a person's request.

    Raises:
        UnknownRun: no run has this id.
        RunStateError: the run does not wait for a node that knows the run.
    """
    query = sa.select(job_run).where(job_run.c.Id == run_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise UnknownRun(Localized("there is no run %(run)s", run=run_id))
    if row.UnknownSince is None or row.State not in WAITING:
        raise RunStateError(f"run {run_id} does not wait for a node that knows it: cancel it")
    settlement = _failed(row, claim_of(row, {}), now, f"failed by {by}: {_reason(row)}")
    return await settle(connection, [settlement], now)


def _given_up(row: Row, now: datetime, limits: Mapping[str, int]) -> Settlement:
    return _failed(row, claim_of(row, limits), now, f"given up: {_reason(row)}")


def _reason(row: Row) -> str:
    since = row.UnknownSince.isoformat(timespec="seconds")
    refusals = dict.fromkeys(f"{item.node} ({item.why})" for item in refusals_of(row.RefusedBy))
    return f"no node has known it since {since}; asked: {', '.join(refusals)}"


def _failed(row: Row, claim: Claim, now: datetime, message: str) -> Settlement:
    return Settlement(
        claim=replace(claim, started_at=now),
        source=RunState(row.State),
        state=RunState.FAILED,
        note=message,
        message=message,
        attempt=AttemptRecord(ended_at=now, success=False, server="", message=message),
    )


def _waiting(*where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    c = job_run.c
    return sa.select(c.Id, c.Queue, c.Priority, c.DueAt, c.RefusedBy).where(_WAITS, *where)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _names(queues: str) -> frozenset[str]:
    return frozenset(name.strip() for name in queues.split(","))
