# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The life of a run. Every change of state is here or in ``servers``, and goes by the table in ``states.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ..states import ACTIVE, FINAL, RunState, sources_of
from ..tables import (
    UtcDateTime,
    job_log_line,
    job_queue,
    job_run,
    job_server,
    job_step,
    logged_job,
)
from .together import settle_together

MOST_LOST_WORKERS = 3
"""A run that has cost so many workers is failed, since it probably kills them."""
SUSPECT = MOST_LOST_WORKERS - 1
"""A run that has cost so many workers is given a node's worker only while no other such run is there: so it is the one that kills
its workers that is failed, and not another that happened to be beside it."""

Row = Any
"""A row of ``c_JobRun``: its columns by name."""

_BUSY = (RunState.ENQUEUED, RunState.RUNNING, RunState.RETRYING)


class RunStateError(Exception):
    """What was asked does not go with the state the run is in."""


class UnknownRun(LookupError):  # noqa: N818 - reads as what it is
    """There is no run with this id."""


class NodeUnknown(Exception):  # noqa: N818 - reads as what it is
    """A node that was taken for dead wants to take runs; its next heartbeat finds out, and it registers again."""


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A run to be created.

    Args:
        due_at: When it may start.
        scheduled_for: The slot of a recurring job.
        note: Why it came into its state, for its life.
        blocked_by: The run that was in the way of a skipped one.
    """

    job_name: str
    job_type: str
    queue: str
    priority: int
    due_at: datetime
    triggered_by: str
    arguments_json: str | None = None
    scheduled_for: datetime | None = None
    state: RunState = RunState.ENQUEUED
    note: str = ""
    blocked_by: int | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A run that an engine thinks is next, and its job."""

    run_id: int
    job_name: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run that this node holds: running, here, in this attempt."""

    run_id: int
    job_name: str
    job_type: str
    queue: str
    priority: int
    attempt: int
    lost_workers: int
    arguments_json: str | None
    scheduled_for: datetime | None
    created_at: datetime
    due_at: datetime
    triggered_by: str
    server_id: str
    started_at: datetime


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What becomes of a run that this node holds.

    Args:
        claim: The hold; nothing happens if the run is not held by it any more.
        state: What it becomes.
        note: Why, for its life.
        message: The result or error, in one line.
        due_at: For a run that goes on: when.
        counts: Whether the attempt counts; one that is handed back does not.
        history: The row for ``c_LoggedJob``, if the attempt gets one.
        log_lines: Rows for ``c_JobLogLine`` that are not written yet.
        progress: How far it came, if it said so.
    """

    claim: Claim
    state: RunState
    note: str = ""
    message: str | None = None
    due_at: datetime | None = None
    counts: bool = True
    history: Mapping[str, Any] | None = None
    log_lines: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    progress: tuple[float, float | None] | None = None


def life(now: datetime, state: RunState, note: str = "") -> str:
    """One line of a run's life: ``<instant> <state> <note>``."""
    return (
        f"{now.isoformat(timespec='milliseconds')} {state} {' '.join(note.split())}".rstrip() + "\n"
    )


async def insert(connection: AsyncConnection, run: NewRun, now: datetime) -> int:
    """Create a run and return its id."""
    result = await connection.execute(
        job_run.insert().values(_row(run, now)).returning(job_run.c.Id)
    )
    return int(result.scalar_one())


async def insert_slot(connection: AsyncConnection, run: NewRun, now: datetime) -> int | None:
    """Create the run of a slot and return its id; ``None`` when the slot has one already."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(job_run).values(_row(run, now))
    nothing_twice = statement.on_conflict_do_nothing(
        index_elements=[job_run.c.JobName, job_run.c.ScheduledFor]
    )
    result = await connection.execute(nothing_twice.returning(job_run.c.Id))
    return result.scalar_one_or_none()


def _row(run: NewRun, now: datetime) -> dict[str, Any]:
    return {
        "JobName": run.job_name,
        "JobType": run.job_type,
        "State": str(run.state),
        "Queue": run.queue,
        "Priority": run.priority,
        "ArgumentsJson": run.arguments_json,
        "ScheduledFor": run.scheduled_for,
        "DueAt": run.due_at,
        "CreatedAt": now,
        "CompletedAt": now if run.state in FINAL else None,
        "TriggeredBy": run.triggered_by,
        "Message": run.note if run.state in FINAL else None,
        "BlockedBy": run.blocked_by,
        "LifeLog": life(now, run.state, run.note),
    }


_LATER = (RunState.SCHEDULED, RunState.RETRYING)
_PROMOTE = (
    sa.update(job_run)
    .where(job_run.c.State.in_(_LATER), job_run.c.DueAt <= sa.bindparam("now", type_=UtcDateTime))
    .values(
        State=RunState.ENQUEUED,
        LifeLog=job_run.c.LifeLog + sa.bindparam("line", type_=sa.UnicodeText),
    )
)


async def promote_due(connection: AsyncConnection, now: datetime) -> int:
    """Scheduled and retrying runs whose time has come become enqueued. Returns how many."""
    line = life(now, RunState.ENQUEUED, "due")
    result = await connection.execute(_PROMOTE, {"now": now, "line": line})
    return result.rowcount


_MINE = job_run.c.Queue.in_(sa.bindparam("queues", expanding=True))
_PEEK = sa.select(
    sa.exists().where(job_run.c.State == RunState.ENQUEUED, _MINE),
    sa.select(sa.func.min(job_run.c.DueAt))
    .where(job_run.c.State.in_(_LATER), _MINE)
    .scalar_subquery(),
)


async def peek(
    connection: AsyncConnection, queues: Collection[str], now: datetime
) -> tuple[bool, datetime | None]:
    """Whether a run waits for a worker in one of the queues, and when the next one is due."""
    found = (await connection.execute(_PEEK, {"queues": list(queues)})).one()
    next_due: datetime | None = found[1]
    return bool(found[0]) or (next_due is not None and next_due <= now), next_due


async def claim(
    connection: AsyncConnection,
    *,
    server_id: str,
    wanted: Mapping[str, int],
    limits: Mapping[str, int],
    suspect_is_held: bool,
    now: datetime,
) -> list[Claim]:
    """Take the next runs of each queue: highest priority, then longest due, then oldest.

    Only for a database with one writer (SQLite): what is read here does not change before it is written.

    Args:
        connection: A transaction that writes.
        server_id: This node.
        wanted: How many of each queue.
        limits: How many runs of a job may be running at once; a job that is not named has no limit.
        suspect_is_held: Whether this node has a run that has cost workers already (see :data:`SUSPECT`).
        now: The present instant.
    """
    await promote_due(connection, now)
    busy = await _running(connection) if limits else Counter[str]()
    closed = await _paused_queues(connection, now)
    choice = _Choice(limits, busy, suspect_is_held)
    for queue, count in wanted.items():
        if count > 0 and queue not in closed:
            await _choose(connection, choice, queue, count)
    return await _take(connection, choice.rows, server_id, now)


async def claim_offered(
    connection: AsyncConnection,
    offers: Sequence[Offer],
    *,
    server_id: str,
    limits: Mapping[str, int],
    suspect_is_held: bool,
    now: datetime,
) -> list[Claim]:
    """Take those of the runs that wait, are due and have nothing in their way; for engines with a queue of their own.

    A run that its job's limit holds up, or that is suspected of killing workers while this node has such a run, stays enqueued;
    whoever opens the way submits it again, or else the engine's rescue.

    Args:
        connection: A transaction that writes.
        offers: The runs, the most urgent first.
        server_id: This node.
        limits: How many runs of a job may be running at once; a job that is not named has no limit.
        suspect_is_held: Whether this node has a run that has cost workers already (see :data:`SUSPECT`).
        now: The present instant.

    Raises:
        NodeUnknown: this node was taken for dead.
    """
    free = [offer.run_id for offer in offers if offer.job_name not in limits]
    claims = await _take_free(connection, free, server_id, now) if free else []
    taken = {claim.run_id for claim in claims}
    if rest := [offer for offer in offers if offer.run_id not in taken]:
        if not await connection.scalar(_IS_KNOWN, {"server_id": server_id}):
            raise NodeUnknown(f"node {server_id} was taken for dead")
        rows = await _choose_offered(connection, rest, limits, suspect_is_held, now)
        claims += await _take(connection, rows, server_id, now)
    places = {offer.run_id: place for place, offer in enumerate(offers)}
    return sorted(claims, key=lambda claim: places[claim.run_id])


async def _choose_offered(
    connection: AsyncConnection,
    offers: Sequence[Offer],
    limits: Mapping[str, int],
    suspect_is_held: bool,  # noqa: FBT001 - passed on from claim_offered(), where it has a name
    now: datetime,
) -> list[Row]:
    limited = sorted({offer.job_name for offer in offers} & limits.keys())
    for name in limited:  # always in the same order, so that no two nodes wait for each other
        await serialise(connection, name)
    busy = await _running(connection) if limited else Counter[str]()
    asked = {"ids": [offer.run_id for offer in offers], "now": now}
    found = {row.Id: row for row in (await connection.execute(_OFFERED, asked)).all()}
    choice = _Choice(limits, busy, suspect_is_held)
    for offer in offers:
        if offer.run_id in found:
            choice.take(found[offer.run_id])
    return choice.rows


_CLAIMED = (
    job_run.c.Id,
    job_run.c.State,
    job_run.c.JobName,
    job_run.c.JobType,
    job_run.c.Queue,
    job_run.c.Priority,
    job_run.c.Attempt,
    job_run.c.LostWorkers,
    job_run.c.ArgumentsJson,
    job_run.c.ScheduledFor,
    job_run.c.CreatedAt,
    job_run.c.DueAt,
    job_run.c.TriggeredBy,
)


_COUNT_RUNNING = (
    sa.select(job_run.c.JobName, sa.func.count())
    .where(job_run.c.State == RunState.RUNNING)
    .group_by(job_run.c.JobName)
)
_PAUSED = sa.select(job_queue.c.Name).where(
    job_queue.c.PausedAt.is_not(None),
    sa.or_(
        job_queue.c.PausedUntil.is_(None),
        job_queue.c.PausedUntil > sa.bindparam("now", type_=UtcDateTime),
    ),
)


async def _running(connection: AsyncConnection) -> Counter[str]:
    rows = (await connection.execute(_COUNT_RUNNING)).all()
    return Counter({row[0]: row[1] for row in rows})


async def _paused_queues(connection: AsyncConnection, now: datetime) -> frozenset[str]:
    return frozenset(await connection.scalars(_PAUSED, {"now": now}))


async def serialise(connection: AsyncConnection, job_name: str) -> None:
    """Let one transaction at a time decide about this job's limit; SQLite does so anyway."""
    if connection.dialect.name == "postgresql":
        key = sa.func.hashtextextended(f"targcc/{job_name}", 0)
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


_NEXT = (
    sa.select(*_CLAIMED)
    .where(
        job_run.c.State == RunState.ENQUEUED,
        job_run.c.Queue == sa.bindparam("queue"),
        job_run.c.JobName.not_in(sa.bindparam("full", expanding=True)),
        job_run.c.Id.not_in(sa.bindparam("taken", expanding=True)),
        job_run.c.LostWorkers <= sa.bindparam("most_lost"),
    )
    .order_by(job_run.c.Priority.desc(), job_run.c.DueAt, job_run.c.Id)
    .limit(sa.bindparam("count"))
)


@dataclass
class _Choice:
    """The runs that a claim takes, and what stands in the way of more."""

    limits: Mapping[str, int]
    busy: Counter[str]
    suspect: bool
    rows: list[Row] = field(default_factory=list)

    def full(self) -> list[str]:
        """The jobs at their limit."""
        return [name for name, limit in self.limits.items() if self.busy[name] >= limit]

    def take(self, row: Row) -> bool:
        """Take a run if nothing is in its way, and say whether."""
        limit, suspect = self.limits.get(row.JobName), row.LostWorkers >= SUSPECT
        if (limit is not None and self.busy[row.JobName] >= limit) or (suspect and self.suspect):
            return False
        self.busy[row.JobName] += 1
        self.suspect = self.suspect or suspect
        self.rows.append(row)
        return True


async def _choose(connection: AsyncConnection, choice: _Choice, queue: str, count: int) -> None:
    """Choose up to ``count`` runs of a queue that may start now."""
    while count > 0:
        asked = {
            "queue": queue,
            "full": choice.full(),
            "taken": [row.Id for row in choice.rows],
            "most_lost": SUSPECT - 1 if choice.suspect else MOST_LOST_WORKERS,
            "count": count,
        }
        candidates = (await connection.execute(_NEXT, asked)).all()
        exhausted = len(candidates) < count
        count -= sum(choice.take(row) for row in candidates)
        if exhausted:
            return


_TAKEN: dict[str, Any] = {
    "State": RunState.RUNNING,
    "ServerId": sa.bindparam("server_id"),
    "StartedAt": sa.bindparam("now", type_=UtcDateTime),
    "Attempt": job_run.c.Attempt + 1,
    "Message": None,
    "ProgressDone": None,
    "ProgressTotal": None,
    "LifeLog": job_run.c.LifeLog + sa.bindparam("line", type_=sa.UnicodeText),
}
_TAKE = (
    sa.update(job_run)
    .where(
        job_run.c.Id.in_(sa.bindparam("ids", expanding=True)),
        job_run.c.State.in_(sources_of(RunState.RUNNING)),
    )
    .values(_TAKEN)
)


async def _take(
    connection: AsyncConnection, rows: Sequence[Row], server_id: str, now: datetime
) -> list[Claim]:
    if not rows:
        return []
    taken = await connection.execute(
        _TAKE,
        {
            "ids": [row.Id for row in rows],
            "server_id": server_id,
            "now": now,
            "line": life(now, RunState.RUNNING, f"on {server_id}"),
        },
    )
    if taken.rowcount != len(rows):
        raise RunStateError("a run changed while it was being claimed")
    return [_claim(row, server_id, now) for row in rows]


# The database's clock counts too: by it an engine finds that a run is due, and this node's may be behind.
_IS_DUE = sa.or_(
    job_run.c.State == RunState.ENQUEUED,
    sa.and_(
        job_run.c.State.in_(_LATER),
        sa.or_(
            job_run.c.DueAt <= sa.bindparam("now", type_=UtcDateTime),
            job_run.c.DueAt <= sa.func.now(),
        ),
    ),
)
_IS_OFFERED = sa.and_(job_run.c.Id.in_(sa.bindparam("ids", expanding=True)), _IS_DUE)
# Whoever holds the row lets the run go, and then it is offered anew, or takes it.
_OFFERED = sa.select(*_CLAIMED).where(_IS_OFFERED).with_for_update(skip_locked=True)
_IS_KNOWN = sa.select(sa.exists().where(job_server.c.Id == sa.bindparam("server_id")))
_TAKE_FREE = (
    sa.update(job_run)
    .where(
        _IS_OFFERED,
        job_run.c.LostWorkers < SUSPECT,
        sa.exists().where(job_server.c.Id == sa.bindparam("server_id")),
    )
    .values(_TAKEN)
    .returning(
        *(column for column in _CLAIMED if column is not job_run.c.Attempt),
        (job_run.c.Attempt - 1).label("Attempt"),
    )
)


async def _take_free(
    connection: AsyncConnection, run_ids: Sequence[int], server_id: str, now: datetime
) -> list[Claim]:
    """Take runs of jobs without a limit; one statement."""
    asked = {
        "ids": run_ids,
        "server_id": server_id,
        "now": now,
        "line": life(now, RunState.RUNNING, f"on {server_id}"),
    }
    taken = await connection.execute(_TAKE_FREE, asked)
    return [_claim(row, server_id, now) for row in taken.all()]


def _claim(row: Row, server_id: str, now: datetime) -> Claim:
    return Claim(
        run_id=row.Id,
        job_name=row.JobName,
        job_type=row.JobType,
        queue=row.Queue,
        priority=row.Priority,
        attempt=row.Attempt + 1,
        lost_workers=row.LostWorkers,
        arguments_json=row.ArgumentsJson,
        scheduled_for=row.ScheduledFor,
        created_at=row.CreatedAt,
        due_at=row.DueAt,
        triggered_by=row.TriggeredBy,
        server_id=server_id,
        started_at=now,
    )


async def settle(
    connection: AsyncConnection, settlements: Sequence[Settlement], now: datetime
) -> frozenset[int]:
    """Give held runs their new states, with their history; returns the ids of those that were still held."""
    rows = [_settled(item, now) for item in settlements]
    if connection.dialect.name == "postgresql":
        held = await settle_together(connection, rows, [item.history for item in settlements])
        settled = [i for i in settlements if (i.claim.run_id, i.claim.attempt) in held]
    else:
        settled = [
            item
            for item, row in zip(settlements, rows, strict=True)
            if (await connection.execute(_SETTLE, row)).rowcount == 1
        ]
        if history := [dict(item.history) for item in settled if item.history is not None]:
            await connection.execute(logged_job.insert(), history)
    if lines := [dict(line) for item in settled for line in item.log_lines]:
        await connection.execute(job_log_line.insert(), lines)
    return frozenset(item.claim.run_id for item in settled)


# Statements that every run needs are built once: building one costs SQLAlchemy more than executing it costs SQLite.
_SETTLE = (
    sa.update(job_run)
    .where(
        job_run.c.Id == sa.bindparam("run_id"),
        job_run.c.State == RunState.RUNNING,
        job_run.c.ServerId == sa.bindparam("server_id"),
        job_run.c.Attempt == sa.bindparam("attempt"),
    )
    .values(
        State=sa.bindparam("state"),
        Message=sa.bindparam("message"),
        CompletedAt=sa.bindparam("completed_at"),
        ServerId=sa.bindparam("last_server_id"),
        DueAt=sa.func.coalesce(sa.bindparam("due_at", type_=UtcDateTime), job_run.c.DueAt),
        Attempt=job_run.c.Attempt - sa.bindparam("not_counted", type_=sa.Integer),
        ProgressDone=sa.func.coalesce(sa.bindparam("done", type_=sa.Float), job_run.c.ProgressDone),
        ProgressTotal=sa.func.coalesce(
            sa.bindparam("total", type_=sa.Float), job_run.c.ProgressTotal
        ),
        LifeLog=job_run.c.LifeLog + sa.bindparam("line", type_=sa.UnicodeText),
    )
)


def _settled(item: Settlement, now: datetime) -> dict[str, Any]:
    """What a settlement writes into the row of its run, and by what it finds it."""
    if RunState.RUNNING not in sources_of(item.state):
        raise RunStateError(f"a running run cannot become {item.state}")
    final = item.state in FINAL
    done, total = item.progress or (None, None)
    return {
        "run_id": item.claim.run_id,
        "server_id": item.claim.server_id,
        "attempt": item.claim.attempt,
        "state": item.state,
        "message": item.message,
        "completed_at": now if final else None,
        "last_server_id": item.claim.server_id if final else None,
        "due_at": item.due_at,
        "not_counted": 0 if item.counts else 1,
        "done": done,
        "total": total,
        "line": life(now, item.state, item.note),
    }


async def settled_before(
    connection: AsyncConnection, settlements: Sequence[Settlement]
) -> frozenset[int]:
    """The runs that are over in just this way: the settlement was written before, although its writer did not hear of it."""
    found = await connection.execute(
        sa.select(job_run.c.Id, job_run.c.State, job_run.c.ServerId, job_run.c.Attempt).where(
            job_run.c.Id.in_([item.claim.run_id for item in settlements])
        )
    )
    now = {tuple(row) for row in found}
    ends = [item for item in settlements if item.state in FINAL]
    return frozenset(
        item.claim.run_id
        for item in ends
        if (item.claim.run_id, item.state, item.claim.server_id, item.claim.attempt) in now
    )


def held_by(run_id: int, server_id: str, attempt: int) -> sa.ColumnElement[bool]:
    """That a run is still running on this node, in this attempt."""
    return sa.and_(
        job_run.c.Id == run_id,
        job_run.c.State == RunState.RUNNING,
        job_run.c.ServerId == server_id,
        job_run.c.Attempt == attempt,
    )


async def blocking_runs(connection: AsyncConnection, job_name: str) -> list[int]:
    """The runs of a job that are busy (running, or waiting for a worker or the next attempt), oldest first."""
    ids = await connection.scalars(
        sa.select(job_run.c.Id)
        .where(job_run.c.JobName == job_name, job_run.c.State.in_(_BUSY))
        .order_by(job_run.c.Id)
    )
    return list(ids)


async def state_of(connection: AsyncConnection, run_id: int) -> RunState:
    """The state a run is in.

    Raises:
        UnknownRun: there is none with this id.
    """
    return RunState((await _find(connection, run_id)).State)


async def cancel(connection: AsyncConnection, run_id: int, by: str, now: datetime) -> RunState:
    """Cancel a waiting run at once; ask the node that holds a running one to stop it.

    Returns:
        ``cancelled``, or ``running`` when a node has been asked.

    Raises:
        UnknownRun: there is none with this id.
        RunStateError: it is over.
    """
    note = f"by {by}"
    stopped = await connection.execute(
        sa.update(job_run)
        .where(
            job_run.c.Id == run_id,
            job_run.c.State.in_(sources_of(RunState.CANCELLED) - {RunState.RUNNING}),
        )
        .values(
            State=RunState.CANCELLED,
            CompletedAt=now,
            CancelRequestedBy=by,
            Message=f"cancelled {note}",
            LifeLog=job_run.c.LifeLog + life(now, RunState.CANCELLED, note),
        )
    )
    if stopped.rowcount:
        return RunState.CANCELLED
    asked = await connection.execute(
        sa.update(job_run)
        .where(job_run.c.Id == run_id, job_run.c.State == RunState.RUNNING)
        .values(CancelRequestedBy=sa.func.coalesce(job_run.c.CancelRequestedBy, by))
    )
    if asked.rowcount:
        return RunState.RUNNING
    state = await state_of(connection, run_id)
    raise RunStateError(f"run {run_id} is {state}: there is nothing to cancel")


async def cancel_requests(connection: AsyncConnection, server_id: str) -> dict[int, str]:
    """The runs on a node that somebody wants cancelled, and who."""
    rows = await connection.execute(
        sa.select(job_run.c.Id, job_run.c.CancelRequestedBy).where(
            job_run.c.State == RunState.RUNNING,
            job_run.c.ServerId == server_id,
            job_run.c.CancelRequestedBy.is_not(None),
        )
    )
    return dict(rows.all())


async def hurry(connection: AsyncConnection, run_id: int, by: str, now: datetime) -> bool:
    """Make a run that waits for its time (scheduled or retrying) due now. Whether it was one."""
    result = await connection.execute(
        sa.update(job_run)
        .where(job_run.c.Id == run_id, job_run.c.State.in_([RunState.SCHEDULED, RunState.RETRYING]))
        .values(
            State=RunState.ENQUEUED,
            DueAt=now,
            LifeLog=job_run.c.LifeLog + life(now, RunState.ENQUEUED, f"at once, by {by}"),
        )
    )
    return result.rowcount == 1


async def again(connection: AsyncConnection, run_id: int, by: str, now: datetime) -> NewRun:
    """A new run with the job and arguments of one that is over.

    Raises:
        UnknownRun: there is none with this id.
        RunStateError: it is not over.
    """
    row = await _find(connection, run_id)
    if row.State in ACTIVE:
        raise RunStateError(
            f"run {run_id} is {row.State}: only a run that is over can be done again"
        )
    return NewRun(
        job_name=row.JobName,
        job_type=row.JobType if row.JobType != "Recurring" else "Manual",
        queue=row.Queue,
        priority=row.Priority,
        arguments_json=row.ArgumentsJson,
        due_at=now,
        triggered_by=by,
        note=f"run {run_id} again",
    )


async def find_submission(connection: AsyncConnection, run_id: int) -> tuple[str, int, datetime]:
    """The queue, priority and due instant of a run."""
    row = await _find(connection, run_id)
    return row.Queue, row.Priority, row.DueAt


async def delete(connection: AsyncConnection, run_id: int) -> str:
    """Remove a run with its log and steps; its history stays. Returns the job's name.

    Raises:
        UnknownRun: there is none with this id.
        RunStateError: it is running.
    """
    row = await _find(connection, run_id)
    if row.State == RunState.RUNNING:
        raise RunStateError(f"run {run_id} is running: cancel it first")
    await delete_rows(connection, [run_id])
    return str(row.JobName)


async def delete_rows(connection: AsyncConnection, run_ids: Sequence[int]) -> None:
    """Remove runs with their logs and steps."""
    for table, column in (
        (job_log_line, job_log_line.c.RunId),
        (job_step, job_step.c.RunId),
        (job_run, job_run.c.Id),
    ):
        await connection.execute(sa.delete(table).where(column.in_(run_ids)))


async def _find(connection: AsyncConnection, run_id: int) -> Row:
    row = (await connection.execute(sa.select(job_run).where(job_run.c.Id == run_id))).one_or_none()
    if row is None:
        raise UnknownRun(f"there is no run {run_id}")
    return row
