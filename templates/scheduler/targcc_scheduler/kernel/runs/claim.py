"""Claim: choose runs that may start and set them running on a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import NodeUnknown
from ...core.states import WAITING, RunState
from ...db.columns import UtcDateTime, elapsed
from ...db.dialects import known
from ...db.dialects.frequent import FrequentStatement, is_among, listed
from ...db.tables import WAITS_IN_ORDER, job_run, job_server
from .. import pauses
from ..jobs.options import LimitPolicy
from ..limit_claims import KeyCapacities
from ..limits import hidden, keeps_capacity, policies_of, with_capacity
from .create import CLAIMABLE, NOT_REFUSED, WAITS_FOR_ITS_TIME, refused_by
from .settle import settle
from .transition import OTHER, is_in_state, state_line, transition
from .values import (
    MOST_LOST_WORKERS,
    POISON_AFTER,
    Claim,
    Claimed,
    ClaimKey,
    ClaimTerms,
    Misfit,
    Offer,
    OfferedRun,
    Ready,
    Settlement,
    has_its_keys,
)

# Candidates: the waiting runs that a claim may take, the conditions that block a run, and the order of the runs.

MOST_MISFITS = 200
"""Maximum number of misfits and expired runs in one claim; the next claim follows at once."""

# Compare with the database's clock too: an engine finds due runs by that clock, and this node's clock may be behind.
IS_DUE = sa.or_(
    is_in_state(RunState.ENQUEUED, by_index=False),
    sa.and_(
        is_in_state(*WAITS_FOR_ITS_TIME, by_index=False),
        has_its_keys(),
        sa.or_(
            job_run.c.DueAt <= sa.bindparam("now", type_=UtcDateTime),
            job_run.c.DueAt <= sa.func.now(),
        ),
    ),
)
"""Match runs that are due. The parameter ``now`` is the node's clock."""

NEEDS_NO_CAPACITY = sa.or_(job_run.c.LimitKey.is_(None), keeps_capacity(job_run))
"""Match runs without a limit by key, and runs whose capacity is already reserved."""

NOT_EXPIRED = sa.or_(
    job_run.c.ExpiresAt.is_(None),
    job_run.c.ExpiresAt > sa.bindparam("now", type_=UtcDateTime),
    job_run.c.Attempt > 0,
)
"""Match runs that have not expired. A run with an earlier attempt does not expire; see ``kernel/on_settled.py``."""

IS_ONE_OF = is_among(job_run.c.Id, listed("ids", sa.BigInteger))
"""Match runs whose id is in the parameter ``ids``."""

_CANDIDATE = (
    job_run.c.Id,
    job_run.c.State,
    job_run.c.JobName,
    job_run.c.LostWorkers,
    job_run.c.ArgumentsJson,
    job_run.c.Queue,
    job_run.c.Priority,
    job_run.c.ExpiresAt,
    job_run.c.Attempt,
    job_run.c.LimitKey,
    job_run.c.Weight,
    job_run.c.RoomAt,
)
# Skip locked rows: the transaction with the lock either takes the run, or releases the run to be offered again. SQLite has one writer, so
# there is no row to skip.
_OFFERED = FrequentStatement(
    sa.select(*_CANDIDATE).where(IS_ONE_OF, IS_DUE, CLAIMABLE).with_for_update(skip_locked=True)
)
# The states of claims are parameters: with literals and statistics from before a burst, PostgreSQL would read all waiting runs.
_QUEUE = sa.bindparam("queue", type_=sa.Text)
_IS_ENQUEUED = job_run.c.State == RunState.ENQUEUED
_IN_QUEUE = job_run.c.Queue == _QUEUE


def _points(run: sa.FromClause) -> sa.ColumnElement[Any]:
    """Return a run's points in a queue with ageing, in waiting seconds."""
    waited = elapsed(run.c.DueAt, sa.bindparam("now", type_=UtcDateTime))
    return run.c.Priority * sa.bindparam("aging", type_=sa.Integer) + waited


_MAY_GO = (
    _IN_QUEUE,
    sa.not_(is_among(job_run.c.JobName, listed("full", sa.Text))),
    sa.not_(is_among(job_run.c.Id, listed("chosen", sa.BigInteger))),
    job_run.c.LostWorkers <= sa.bindparam("most_lost"),
    NOT_REFUSED,
    CLAIMABLE,
    pauses.is_open(_QUEUE),
)


_ORDER = job_run.c.Priority.desc(), job_run.c.DueAt, job_run.c.Id


def _next(
    *where: sa.ColumnElement[bool], order: Sequence[sa.ColumnElement[Any]] = _ORDER
) -> FrequentStatement:
    return FrequentStatement(
        sa.select(*_CANDIDATE)
        .where(*where, *_MAY_GO)
        .order_by(*order)
        .limit(sa.bindparam("count"))
        .with_for_update(skip_locked=True)
    )


_OF_JOB = (
    job_run.c.JobName == sa.bindparam("job"),
    job_run.c.State == hidden(RunState.ENQUEUED),
    WAITS_IN_ORDER,
)
_NEXT_OF_JOB = _next(*_OF_JOB)
_NEXT_AGED_OF_JOB = _next(*_OF_JOB, order=(_points(job_run).desc(), job_run.c.DueAt, job_run.c.Id))
_NEXT_WAITING = _next(_IS_ENQUEUED)
_some = (
    sa.select(OTHER.c.Id)
    .where(OTHER.c.State == RunState.ENQUEUED, OTHER.c.Queue == _QUEUE)
    .order_by(OTHER.c.Priority.desc(), OTHER.c.DueAt, OTHER.c.Id)
    .limit(200)
)
_NEXT_OF_SOME = _next(job_run.c.Id.in_(_some), is_in_state(RunState.ENQUEUED, by_index=False))
"""Select the next runs among the first 200 of a queue."""


@cache
def _next_of_jobs(database: str) -> FrequentStatement:
    """Select the next runs of a queue: the first runs of each job below its limit, however many runs of other jobs wait before them."""
    waits = _IS_ENQUEUED, WAITS_IN_ORDER
    job = known.named(database).each_value(job_run.c.JobName, *waits)
    heads = *waits, job_run.c.JobName == job.c.value
    is_full = is_among(job.c.value, listed("full", sa.Text))
    return _next_of_each(job, heads, OTHER.c.Priority, sa.not_(is_full))


@cache
def _next_aged(database: str) -> FrequentStatement:
    """Select the next runs of a queue with ageing: the first runs of each priority, sorted by points.

    Within one priority the order is the same as without ageing, so the index finds the runs. A queue has few priorities, however many runs.
    """
    level = known.named(database).each_value(job_run.c.Priority, _IS_ENQUEUED, _IN_QUEUE)
    heads = _IS_ENQUEUED, job_run.c.Priority == level.c.value
    return _next_of_each(level, heads, _points(OTHER))


def _next_of_each(
    each: sa.CTE,
    heads: Sequence[sa.ColumnElement[bool]],
    urgency: sa.ColumnElement[Any],
    *where: sa.ColumnElement[bool],
) -> FrequentStatement:
    """Select the next runs among the first runs of each value.

    Args:
        each: The values, as :meth:`~..db.dialects.base.Dialect.each_value` lists them.
        heads: The conditions on waiting runs of a value, for an index that has these runs in their order.
        urgency: The order of the selected runs, which have the alias ``OTHER``.
        *where: Conditions on a value, apart from its runs.
    """
    count = sa.bindparam("count", type_=sa.Integer)
    first_ones = (
        sa.select(job_run.c.Id)
        .where(*heads, *_MAY_GO)
        .order_by(*_ORDER)
        .limit(count)
        .correlate(each)
    )
    # Check the state again after the lock. With the bare column, SQLite would build an index of all runs at each claim.
    still_waits = is_in_state(RunState.ENQUEUED, of=OTHER, by_index=False)
    return FrequentStatement(
        sa.select(*(OTHER.c[column.name] for column in _CANDIDATE))
        .select_from(each.join(OTHER, OTHER.c.Id.in_(first_ones)))
        .where(still_waits, *where)
        .order_by(urgency.desc(), OTHER.c.DueAt, OTHER.c.Id)
        .limit(count)
        .with_for_update(skip_locked=True, of=OTHER)
    )


_COUNT_RUNNING = FrequentStatement(
    sa.select(job_run.c.JobName, sa.func.count())
    .where(job_run.c.State == RunState.RUNNING)
    .group_by(job_run.c.JobName)
)
_COUNT_QUEUES = (
    sa.select(job_run.c.Queue, sa.func.count())
    .where(
        job_run.c.State == RunState.RUNNING,
        job_run.c.Queue.in_(sa.bindparam("queues", expanding=True)),
    )
    .group_by(job_run.c.Queue)
)


@dataclass
class Choice:
    """Collect the runs that a claim takes, and track the capacity left for more.

    Args:
        limits: How many runs of a job may be running at once; a job without an entry has no limit.
        busy: How many runs of a job are running.
        poison: Whether a poison run is on this node.
        fits: See :class:`~.values.ClaimTerms`.
        now: The present instant, read after the limits are locked: waiting for the locks may take a while.
        terms: The policies of the jobs with a limit by key.
        keys: The capacity left under each limit key; ``None`` as long as no run has a limit key.
        room: How many more runs may start in a queue; a queue without an entry has no limit.
        run_ids: The runs that the claim takes.
        misfits: The runs that the node cannot perform.
        expired: The runs that have expired.
        later: The blocked runs that nothing resubmits once the block is gone: the claim offers them again after a delay.
    """

    limits: Mapping[str, int]
    busy: Counter[str]
    poison: bool
    fits: Callable[[str, str | None, int], str | None]
    now: datetime
    terms: Mapping[str, LimitPolicy]
    keys: KeyCapacities | None = None
    room: dict[str, int] = field(default_factory=dict)
    run_ids: list[int] = field(default_factory=list)
    misfits: list[Misfit] = field(default_factory=list)
    expired: list[int] = field(default_factory=list)
    later: list[Any] = field(default_factory=list)

    @property
    def goes_on(self) -> bool:
        """Return whether this claim may look at more runs; if not, the next claim does."""
        more = self.keys is None or self.keys.more
        return more and len(self.misfits) + len(self.expired) < MOST_MISFITS

    def seen(self) -> dict[int, None]:
        """Return the runs that this claim takes, cannot take or offers again later, by id."""
        passed = (*(item.run_id for item in self.misfits), *self.expired)
        return dict.fromkeys((*self.run_ids, *passed, *(row.Id for row in self.later)))

    def full(self) -> list[str]:
        """Return the jobs at their limit."""
        return [name for name, limit in self.limits.items() if self.busy[name] >= limit]

    async def look(self, connection: AsyncConnection, rows: Iterable[Any]) -> None:
        """Lock the limit keys of runs and read the capacity left.

        Runs that the node cannot perform are skipped: the node does not know the limit policies of their jobs.
        """
        limited_rows = [
            r for r in rows if r.LimitKey and not self.fits(r.JobName, r.ArgumentsJson, r.Id)
        ]
        if limited_rows:
            self.keys = self.keys or KeyCapacities(self.terms, self.now)
            await self.keys.look(connection, limited_rows)

    def take(self, row: Any) -> bool:
        """Take a run unless something blocks the run; return whether the run was taken."""
        if row.ExpiresAt is not None and row.ExpiresAt <= self.now and row.Attempt == 0:
            self.expired.append(row.Id)
            return False
        limit, poison = self.limits.get(row.JobName), row.LostWorkers >= POISON_AFTER
        if limit is not None and self.busy[row.JobName] >= limit:
            return False
        why = self.fits(row.JobName, row.ArgumentsJson, row.Id)
        if why is not None:
            self.misfits.append(Misfit(row.Id, row.JobName, why))
            return False
        keys = self.keys if row.LimitKey else None
        if (poison and self.poison) or (keys is not None and keys.is_held_up(row)):
            self.later.append(row)
            return False
        if self.room.get(row.Queue, 1) < 1 or not (keys is None or keys.take(row)):
            return False
        if row.Queue in self.room:
            self.room[row.Queue] -= 1
        self.busy[row.JobName] += 1
        self.poison = self.poison or poison
        self.run_ids.append(row.Id)
        return True


async def next_waiting(connection: AsyncConnection, offer: Offer, terms: ClaimTerms) -> Choice:
    """Choose the next runs of each queue that is neither paused nor in maintenance.

    The order is: highest priority (with ageing, priority plus time waited), then longest due, then oldest.
    """
    queues = offer.queues
    if not queues:
        return _choice({}, Counter(), terms, {})
    busy = await _running(connection, terms.limits)
    room = await _room(connection, queues, terms)
    choice = _choice(terms.limits, busy, terms, room)
    refused = refused_by(terms.identity.fingerprint)

    async def choose(queue: str, count: int) -> tuple[int, bool]:
        most = min(count, choice.room.get(queue, count))
        if most < 1:
            return 0, False
        chosen = await _choose(connection, choice, (queue, offer.aging.get(queue)), most, refused)
        return chosen, chosen == count

    for queue, count in offer.wanted.items():
        await choose(queue, count)
    for shared in offer.shared:
        await shared.turns.fill(shared.free, set(shared.turns.pool.queues), choose)
    return choice


async def offered(
    connection: AsyncConnection,
    runs: Sequence[OfferedRun],
    aging: Mapping[str, int],
    terms: ClaimTerms,
) -> Choice:
    """Choose the offered runs that are due and not blocked.

    If the offered runs of a job would fill its limit, choose the next runs of that job first.
    """
    names = {run.job_name for run in runs}
    limits = {name: limit for name, limit in terms.limits.items() if name in names}
    busy = await _running(connection, limits)
    room = await _room(connection, {run.queue for run in runs}, terms)
    choice = _choice(limits, busy, terms, room)
    parameters = {"ids": [run.run_id for run in runs], "now": choice.now}
    rows_by_id = {row.Id: row for row in await _OFFERED.all(connection, parameters)}
    rows = [rows_by_id[run.run_id] for run in runs if run.run_id in rows_by_id]
    refused = refused_by(terms.identity.fingerprint)
    await _take_next_of_full(connection, choice, rows, aging, refused)
    seen = choice.seen()
    rows = [row for row in rows if row.Id not in seen]
    await choice.look(connection, rows)
    for row in rows:
        choice.take(row)
    if choice.keys is not None:
        await choice.keys.ask(connection)
    return choice


def _choice(
    limits: Mapping[str, int], busy: Counter[str], terms: ClaimTerms, room: dict[str, int]
) -> Choice:
    now = terms.now if terms.tell is None else terms.tell()
    return Choice(limits, busy, terms.poison_here, terms.fits, now, terms.keyed, room=room)


async def _take_next_of_full(
    connection: AsyncConnection,
    choice: Choice,
    rows: Sequence[Any],
    aging: Mapping[str, int],
    refused: str,
) -> None:
    """Take the next runs of each job whose limit the offered runs would fill.

    An engine's entries are not in the order of a job's runs. An offered run that loses its place waits without an entry until a run of the
    job ends, like any run that its job's limit blocks. Where something else blocks the next run, as another poison run on this node, the
    run after that goes, and not the offered run.
    """
    for (job, queue), count in Counter((row.JobName, row.Queue) for row in rows).items():
        room = choice.limits.get(job, 0) - choice.busy[job]
        if 0 < room <= count:
            most = min(room, choice.room.get(queue, room))
            await _choose(connection, choice, (queue, aging.get(queue)), most, refused, job=job)


async def _running(connection: AsyncConnection, limited: Collection[str]) -> Counter[str]:
    """Count the running runs of each job. The counts of limited jobs stay locked until the transaction ends."""
    if not limited:
        return Counter()
    # One lock order, so that no two nodes wait for each other.
    await known.of(connection).lock_job(connection, *sorted(limited))
    return Counter({row[0]: row[1] for row in await _COUNT_RUNNING.all(connection, {})})


async def _room(
    connection: AsyncConnection, queues: Collection[str], terms: ClaimTerms
) -> dict[str, int]:
    """Return how many more runs may start in each limited queue. The counts stay locked until the transaction ends."""
    limited = sorted(set(queues) & terms.queue_limits.keys())
    if not limited:
        return {}
    for queue in limited:  # lock order: jobs first, then queues by name
        await lock_queue(connection, queue)
    rows = (await connection.execute(_COUNT_QUEUES, {"queues": limited})).all()
    busy = {row[0]: row[1] for row in rows}
    return {queue: terms.queue_limits[queue] - busy.get(queue, 0) for queue in limited}


async def lock_queue(connection: AsyncConnection, queue: str) -> None:
    """Lock a queue's limit, so that one transaction at a time decides about the limit."""
    await known.of(connection).lock_job(connection, f"queue/{queue}")


async def _choose(
    connection: AsyncConnection,
    choice: Choice,
    of: tuple[str, int | None],
    count: int,
    refused: str,
    *,
    job: str | None = None,
) -> int:
    """Choose up to ``count`` runs of a queue that may start now; return how many were chosen.

    ``of`` is the queue and its ageing; ``job`` limits the choice to the runs of a job. Once a run is a misfit or has expired, each query
    reads at least ``MOST_MISFITS // 4`` runs.
    """
    queue, aging = of
    asked: dict[str, Any] = {"queue": queue, "now": choice.now, "refused": refused}
    if job is not None:
        asked["job"] = job
    if aging is not None:
        asked["aging"] = aging
    before = len(choice.run_ids)
    while count > 0 and choice.goes_on:
        unfit = choice.misfits or choice.expired
        looked_at = max(count, MOST_MISFITS // 4) if unfit else count
        parameters = {
            **asked,
            "full": choice.full(),
            "chosen": list(choice.seen()),
            "most_lost": POISON_AFTER - 1 if choice.poison else MOST_LOST_WORKERS,
            "count": looked_at,
        }
        candidates = await _next_runs(connection, parameters, job, aging)
        exhausted = len(candidates) < looked_at
        await choice.look(connection, candidates)
        for row in candidates:
            if count > 0:
                count -= choice.take(row)
        if choice.keys is not None:
            await choice.keys.ask(connection)
        if exhausted:
            break
    return len(choice.run_ids) - before


async def _next_runs(
    connection: AsyncConnection, parameters: Mapping[str, Any], job: str | None, aging: int | None
) -> Sequence[Row]:
    if job is not None:
        statement = _NEXT_OF_JOB if aging is None else _NEXT_AGED_OF_JOB
    elif aging is not None:
        statement = _next_aged(connection.dialect.name)
    elif not parameters["full"]:
        statement = _NEXT_WAITING
    else:
        some = await _NEXT_OF_SOME.all(connection, parameters)
        if len(some) == parameters["count"]:
            return some
        statement = _next_of_jobs(connection.dialect.name)
    return await statement.all(connection, parameters)


# Claim: set waiting runs running on a node.

_LATER = timedelta(seconds=2)
"""Delay before a blocked run is offered again when nothing announces the end of the block."""

Row = Any
"""A row of ``c_JobRun``: its columns by name."""


async def claim(connection: AsyncConnection, offer: Offer, terms: ClaimTerms) -> Claimed:
    """Claim the offered runs that wait, are due and are not blocked, the most urgent first.

    A run that its job's limit blocks stays unchanged. The transaction that frees capacity submits the run again; failing that, the engine's
    rescue does. Two kinds of runs are offered again a little later: a poison run while this node has a poison run, and a run whose limit key
    another transaction has locked for long. A run that the node cannot perform stays unchanged too: see ``eligibility.py``.

    Args:
        connection: A transaction that writes.
        offer: The runs.
        terms: The node that claims, and its limits.

    Raises:
        NodeUnknown: this node was declared lost, or is being drained: roll the transaction back.
    """
    if offer.runs:
        claimed = await _claim_offered(connection, offer, terms)
        order = [run.run_id for run in offer.runs]
    else:
        choice = await next_waiting(connection, offer, terms)
        order = choice.run_ids
        claimed = await _take(connection, choice, terms)
    if len(claimed.claims) < len(order):
        await require_place(connection, terms.server_id)
    places = {run_id: place for place, run_id in enumerate(order)}
    # A run that replaces an offered run of its job was not offered and has no place: sort such runs first.
    in_order = sorted(claimed.claims, key=lambda one: places.get(one.run_id, -1))
    return replace(claimed, claims=in_order)


async def _claim_offered(connection: AsyncConnection, offer: Offer, terms: ClaimTerms) -> Claimed:
    """Claim offered runs: one statement for harmless runs without a limit (nearly all); the rest goes through :func:`offered`."""
    misfits = [
        Misfit(run.run_id, run.job_name, why)
        for run in offer.runs
        if (why := terms.fits(run.job_name, run.arguments_json, run.run_id)) is not None
    ]
    unfit = {item.run_id for item in misfits}
    fit = [run for run in offer.runs if run.run_id not in unfit]
    free = [
        run.run_id
        for run in fit
        if run.job_name not in terms.limits
        and run.job_name not in terms.keyed
        and run.queue not in terms.queue_limits
    ]
    claims = await _become_running(connection, free, terms, most_lost=POISON_AFTER - 1)
    taken = {claim.run_id for claim in claims}
    rest = [run for run in fit if run.run_id not in taken]
    if not rest:
        return Claimed(claims, misfits)
    claimed = await _take(connection, await offered(connection, rest, offer.aging, terms), terms)
    misfits += [misfit for misfit in claimed.misfits if misfit.run_id not in unfit]
    return replace(claimed, claims=[*claims, *claimed.claims], misfits=misfits)


async def _take(connection: AsyncConnection, choice: Choice, terms: ClaimTerms) -> Claimed:
    """Set the chosen runs running on this node."""
    ids, terms = choice.run_ids, replace(terms, now=choice.now)
    claims = await _become_running(connection, ids, terms, with_room=ids)
    keys = choice.keys
    ready = [] if keys is None else await keys.close(connection)
    later = terms.now + _LATER
    offered_later = [
        Ready(row.Id, row.Queue, row.Priority, later, first=True) for row in choice.later
    ]
    return Claimed(
        claims,
        choice.misfits,
        choice.expired,
        [*ready, *offered_later],
        () if keys is None else keys.crowded,
    )


async def require_place(connection: AsyncConnection, server_id: str) -> None:
    """Raise an error if this node may not claim.

    Raises:
        NodeUnknown: the node was declared lost, or is being drained.
    """
    row = (await connection.execute(_PLACE, {"server_id": server_id})).one_or_none()
    if row is None:
        raise NodeUnknown(f"node {server_id} was declared lost")
    if row.DrainRequestedAt is not None:
        raise NodeUnknown(f"node {server_id} is being drained")


_PLACE = sa.select(job_server.c.DrainRequestedAt).where(
    job_server.c.Id == sa.bindparam("server_id")
)
HAS_PLACE = sa.exists().where(
    job_server.c.Id == sa.bindparam("server_id"), job_server.c.DrainRequestedAt.is_(None)
)
"""Match if this node may claim: the node is registered and not being drained."""
BECOMES_RUNNING: dict[str, Any] = {
    "ServerId": sa.bindparam("server_id"),
    "StartedAt": sa.bindparam("now", type_=UtcDateTime),
    "Attempt": job_run.c.Attempt + 1,
    "Message": sa.null(),
    "ProgressDone": sa.null(),
    "ProgressTotal": sa.null(),
    "UnknownSince": sa.null(),
    "RefusedBy": sa.null(),
}
"""Column values of a run that begins."""
CLAIMED = (
    job_run.c.Id,
    job_run.c.JobName,
    job_run.c.JobType,
    job_run.c.Queue,
    job_run.c.Priority,
    job_run.c.Attempt,
    job_run.c.LostWorkers,
    job_run.c.ArgumentsJson,
    job_run.c.ScheduledFor,
    job_run.c.CreatedAt,
    job_run.c.StartedAt,
    job_run.c.DueAt,
    job_run.c.TriggeredBy,
    job_run.c.ServerId,
    job_run.c.Ties,
    job_run.c.Trace,
)
"""The columns that :func:`claim_of` reads."""
_BECOME_RUNNING = FrequentStatement(
    transition(
        RunState.RUNNING,
        IS_ONE_OF,
        IS_DUE,
        NOT_EXPIRED,
        CLAIMABLE,
        job_run.c.LostWorkers <= sa.bindparam("most_lost"),
        sa.or_(NEEDS_NO_CAPACITY, is_among(job_run.c.Id, listed("with_room", sa.BigInteger))),
        HAS_PLACE,
        **BECOMES_RUNNING,
    ).returning(*CLAIMED)
)
_IS_OF_NODE = sa.and_(
    job_run.c.State == RunState.RUNNING, job_run.c.ServerId == sa.bindparam("server_id")
)
_OF_NODE = sa.select(*CLAIMED).where(_IS_OF_NODE)
_RUNNING_ON = FrequentStatement(
    sa.select(
        job_run.c.Id, job_run.c.Attempt, job_run.c.StartedAt, job_run.c.CancelRequestedBy
    ).where(_IS_OF_NODE)
)


def parameters_of(terms: ClaimTerms, most_lost: int) -> dict[str, Any]:
    """Return the parameters of a statement that starts runs; ``most_lost`` is the maximum number of workers a run may have cost."""
    return {
        "server_id": terms.server_id,
        "now": terms.now,
        "most_lost": most_lost,
        "line": state_line(terms.now, RunState.RUNNING, f"on {terms.server_id}"),
    }


async def _become_running(
    connection: AsyncConnection,
    run_ids: Sequence[int],
    terms: ClaimTerms,
    *,
    with_room: Sequence[int] = (),
    most_lost: int = MOST_LOST_WORKERS,
) -> list[Claim]:
    """Set the runs that still wait running on this node and return their claims.

    A run that needs capacity under a limit starts only if ``with_room`` contains the run.
    """
    if not run_ids:
        return []
    parameters = {**parameters_of(terms, most_lost), "ids": run_ids, "with_room": with_room}
    rows = await _BECOME_RUNNING.all(connection, parameters)
    return [
        claim_of(row, terms.limits, queue_limit=terms.queue_limits.get(row.Queue)) for row in rows
    ]


async def claims_of_node(connection: AsyncConnection, server_id: str, queue: str) -> list[Claim]:
    """Return the claims of a queue's runs that are running on a node."""
    rows = await connection.execute(_OF_NODE, {"server_id": server_id})
    return [claim_of(row, {}) for row in rows if row.Queue == queue]


async def running_on(connection: AsyncConnection, server_id: str) -> dict[ClaimKey, str | None]:
    """Map each run's claim key, for the runs running on a node, to the person who requested cancellation (``None``: no request)."""
    rows = await _RUNNING_ON.all(connection, {"server_id": server_id})
    return {(row.Id, row.Attempt, row.StartedAt): row.CancelRequestedBy for row in rows}


async def give_back(
    connection: AsyncConnection,
    server_id: str,
    keys: Collection[ClaimKey],
    limits: Mapping[str, int],
    now: datetime,
    *,
    note: str,
) -> list[Settlement]:
    """Release claimed runs that the node has not begun: enqueue them, or cancel runs with a cancellation request.

    Args:
        connection: A transaction that writes.
        server_id: The node.
        keys: The claims to release; a claim that the node no longer has is ignored.
        limits: The limit of each limited job.
        now: The present instant.
        note: The reason, for the state history.

    Returns:
        The settlements that were written.
    """
    query = _OF_NODE.order_by(job_run.c.Id).with_for_update()
    rows = await connection.execute(query, {"server_id": server_id})
    unbegun = [
        Settlement(claim=claim, state=RunState.ENQUEUED, note=note, counts=False)
        for row in rows
        if (claim := claim_of(row, limits)).key in keys
    ]
    return await settle(connection, unbegun, now)


def claim_of(
    row: Row,
    limits: Mapping[str, int],
    started_at: datetime | None = None,
    queue_limit: int | None = None,
) -> Claim:
    """Build a claim from a row of ``c_JobRun``.

    Args:
        row: The row.
        limits: The limit of each limited job.
        started_at: The start to use for a run that has not begun.
        queue_limit: How many runs of its queue may be running at once.
    """
    return Claim(
        run_id=row.Id,
        job_name=row.JobName,
        job_type=row.JobType,
        queue=row.Queue,
        priority=row.Priority,
        attempt=row.Attempt,
        lost_workers=row.LostWorkers,
        arguments_json=row.ArgumentsJson,
        scheduled_for=row.ScheduledFor,
        created_at=row.CreatedAt,
        due_at=row.DueAt,
        triggered_by=row.TriggeredBy,
        server_id=row.ServerId,
        started_at=row.StartedAt or started_at or row.CreatedAt,
        ties=row.Ties,
        trace=row.Trace,
        limit=limits.get(row.JobName),
        queue_limit=queue_limit,
    )


# Fast claim: take entries of an engine's queue and set their runs running on a node, in one statement that commits by itself.
#
# The fast claim serves *plain* runs. A plain run:
# - has a job and a queue without a limit, or capacity under a limit key that no run waits for;
# - has cost fewer than ``POISON_AFTER`` workers and has not expired;
# - fulfils the claim conditions of the installed features, and belongs to a job that the node can perform.
# SQL conditions decide everything about a plain run, so one round trip replaces four in a transaction. Entries of other waiting runs stay
# for a claim in a transaction.


@dataclass(frozen=True, eq=False)
class Entries:
    """An engine's own queue in this database.

    Args:
        next_ones: A query that locks the next entries and returns their ``entry``, ``run_id`` and ``priority``, the most urgent first. An
            entry for many runs has no ``run_id`` and comes last.
        table: The table of entries; its key is ``id``.
    """

    next_ones: sa.TextClause
    table: sa.TableClause


@dataclass(frozen=True, slots=True)
class Taken:
    """Result of a fast claim.

    Args:
        claims: The runs that the node claimed, the most urgent first.
        count: How many entries were looked at.
        rest: Whether entries of waiting runs that are not plain are left.
        bundle: Whether the next entry is a bundle of many runs and has to be opened.
    """

    claims: list[Claim]
    count: int
    rest: bool
    bundle: bool = False


_IS_PLAIN = (
    is_among(job_run.c.JobName, listed("plain", sa.Text)),
    job_run.c.LostWorkers <= sa.bindparam("most_lost"),
    CLAIMABLE,
    NOT_EXPIRED,
)
"""Match plain runs. The parameter ``plain`` lists the jobs."""


async def claim_fast(
    connection: AsyncConnection,
    entries: Entries,
    options: Mapping[str, Any],
    terms: ClaimTerms,
    plain: Collection[str],
    *,
    keyed: bool,
) -> Taken:
    """Take the next entries and claim their plain runs. The caller checks whether the arguments fit.

    Args:
        connection: A connection that commits by itself.
        entries: The engine's queue.
        options: The parameters of ``entries.next_ones``.
        terms: The node that claims, and its limits.
        plain: The jobs that this node knows and that have no limit, or a limit by key.
        keyed: Whether any of these jobs has a limit by key; if not, the statement ignores keys.

    Raises:
        NodeUnknown: this node was declared lost, or is being drained; nothing was taken.
    """
    parameters = {**options, **parameters_of(terms, POISON_AFTER - 1), "plain": plain}
    if keyed:
        parameters["terms"] = policies_of(terms.keyed)
    rows = await _statement(entries, keyed=keyed).planned_once(connection, parameters)
    seen = rows[0]
    count = seen.looked_at
    if not count:
        await require_place(connection, terms.server_id)
    runs = {row.Id: row for row in rows if row.Id is not None}  # a run may have two entries
    claims = [claim_of(row, {}) for row in runs.values()]
    return Taken(claims, count, seen.has_rest, seen.has_bundle)


@cache
def _statement(entries: Entries, *, keyed: bool) -> FrequentStatement:
    next_entries = entries.next_ones.columns(
        sa.column("entry", sa.BigInteger),
        sa.column("run_id", sa.BigInteger),
        sa.column("priority", sa.Integer),
    ).cte("found")
    # A node that may not claim finds no entry and takes no entry.
    next_ones = sa.select(next_entries).where(HAS_PLACE).cte("top")
    has_room = NEEDS_NO_CAPACITY
    if keyed:
        found_room = with_capacity(next_ones).cte("found_room")
        has_room = sa.or_(has_room, _is_any(job_run.c.Id, sa.select(found_room.c.Id)))
    is_plain = (*_IS_PLAIN, has_room)
    rest = (
        sa.select(job_run.c.Id)
        .join(next_ones, next_ones.c.run_id == job_run.c.Id)
        .where(
            is_in_state(*sorted(WAITING), by_index=False),
            has_its_keys(),
            sa.not_(sa.and_(*is_plain)),
        )
        .cte("rest")
    )
    done = sa.select(next_ones.c.entry).where(
        next_ones.c.run_id.is_not(None), next_ones.c.run_id.not_in(sa.select(rest.c.Id))
    )
    dropped = sa.delete(entries.table).where(_is_any(entries.table.c.id, done)).cte("dropped")
    claimed = (
        transition(
            RunState.RUNNING,
            _is_any(job_run.c.Id, sa.select(next_ones.c.run_id)),
            IS_DUE,
            *is_plain,
            **BECOMES_RUNNING,
        )
        .returning(*CLAIMED)
        .cte("claimed")
    )
    seen = sa.select(
        sa.select(sa.func.count()).select_from(next_ones).scalar_subquery().label("looked_at"),
        sa.exists(sa.select(rest.c.Id)).label("has_rest"),
        sa.exists().where(next_ones.c.run_id.is_(None)).label("has_bundle"),
    ).subquery("seen")
    return FrequentStatement(
        sa.select(seen, claimed)
        .select_from(
            seen.outerjoin(claimed, sa.true()).outerjoin(
                next_ones, next_ones.c.run_id == claimed.c.Id
            )
        )
        .order_by(next_ones.c.priority.desc(), next_ones.c.entry)
        .add_cte(dropped)
    )


def _is_any(column: sa.ColumnElement[Any], select: sa.Select[Any]) -> sa.ColumnElement[bool]:
    """Match a column against the few values of a query.

    The values form an array, so that the planner looks up each value by key, however small the table is.
    """
    array = sa.func.array(select.scalar_subquery(), type_=sa.ARRAY(sa.BigInteger))
    return column == sa.any_(array)
