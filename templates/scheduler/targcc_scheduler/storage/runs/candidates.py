"""Which runs a claim may take: what waits, what is in the way, and which of them go first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ..dialects import known
from ..dialects.frequent import FrequentStatement
from ..dialects.listed import is_among, listed
from ..maintenance import rows as windows
from ..owners.rows import IS_OURS
from ..schema.elapsed import elapsed
from ..tables import UtcDateTime, job_maintenance, job_queue, job_run
from ..ties.keys.marks import has_its_keys
from ..ties.limit_keys.asking import keeps_room
from ..ties.limit_keys.claims import KeyRooms
from .stage import NOT_REFUSED, WAITS_FOR_ITS_TIME, refused_by
from .transition import is_in_state
from .values import MOST_LOST_WORKERS, POISON_AFTER, ClaimTerms, Misfit, Offer, OfferedRun

MOST_MISFITS = 200
"""Runs that one claim may refuse; the next claim follows at once."""

# The database's clock counts too: by it an engine finds that a run is due, and this node's may be behind.
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
"""That a run may start; its parameter ``now`` is the node's clock."""

NEEDS_NO_ROOM = sa.or_(job_run.c.LimitKey.is_(None), keeps_room(job_run))
"""That a run has no limit by key, or has its room there already."""

NOT_EXPIRED = sa.or_(
    job_run.c.ExpiresAt.is_(None),
    job_run.c.ExpiresAt > sa.bindparam("now", type_=UtcDateTime),
    job_run.c.Attempt > 0,
)
"""That a run may still start, if it has not begun before; see ``ties/expiry.py``."""

IS_ONE_OF = is_among(job_run.c.Id, listed("ids", sa.BigInteger))
"""That a run is one of ``ids``."""

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
# Whoever holds a row lets the run go, and then it is offered anew, or takes it. SQLite, with one writer, has nothing to skip.
_OFFERED = (
    sa.select(*_CANDIDATE).where(IS_ONE_OF, IS_DUE, IS_OURS).with_for_update(skip_locked=True)
)
_WAITS_IN_QUEUE = (
    job_run.c.State == RunState.ENQUEUED,
    job_run.c.Queue == sa.bindparam("queue"),
)


def _points(run: sa.FromClause) -> sa.ColumnElement[Any]:
    """What a run has in a queue with ageing, in seconds of waiting."""
    waited = elapsed(run.c.DueAt, sa.bindparam("now", type_=UtcDateTime))
    return run.c.Priority * sa.bindparam("aging", type_=sa.Integer) + waited


def _next_of_job(urgency: sa.ColumnElement[Any]) -> FrequentStatement:
    return FrequentStatement(
        sa.select(*_CANDIDATE)
        .where(*_WAITS_IN_QUEUE, job_run.c.JobName == sa.bindparam("job"), NOT_REFUSED, IS_OURS)
        .order_by(urgency.desc(), job_run.c.DueAt, job_run.c.Id)
        .limit(sa.bindparam("count"))
        .with_for_update(skip_locked=True)
    )


_NEXT_OF_JOB, _NEXT_AGED_OF_JOB = _next_of_job(job_run.c.Priority), _next_of_job(_points(job_run))
_MAY_GO = (
    *_WAITS_IN_QUEUE,
    sa.not_(is_among(job_run.c.JobName, listed("full", sa.Text))),
    sa.not_(is_among(job_run.c.Id, listed("chosen", sa.BigInteger))),
    job_run.c.LostWorkers <= sa.bindparam("most_lost"),
    NOT_REFUSED,
    IS_OURS,
)
_NEXT_WAITING = FrequentStatement(
    sa.select(*_CANDIDATE)
    .where(*_MAY_GO)
    .order_by(job_run.c.Priority.desc(), job_run.c.DueAt, job_run.c.Id)
    .limit(sa.bindparam("count"))
    .with_for_update(skip_locked=True)
)


def _next_aged() -> sa.Select[Any]:
    """The next runs of a queue with ageing: of each priority that waits there the first ones, and of those the most urgent.

    Within one priority the order is as without ageing, so that the index finds them; a queue has few priorities, however many runs.
    """
    first = sa.select(sa.func.max(job_run.c.Priority).label("priority")).where(*_WAITS_IN_QUEUE)
    level = first.cte("level", recursive=True)
    lower = sa.select(sa.func.max(job_run.c.Priority)).where(
        *_WAITS_IN_QUEUE, job_run.c.Priority < level.c.priority
    )
    level = level.union_all(
        sa.select(lower.correlate(level).scalar_subquery()).where(level.c.priority.is_not(None))
    )
    count, run = sa.bindparam("count", type_=sa.Integer), job_run.alias("run")
    # Once it is locked. SQLite would make an index for a column alone, of all runs that there are, at each claim.
    still_waits = sa.func.coalesce(run.c.State, "") == sa.literal_column(f"'{RunState.ENQUEUED}'")
    heads = (
        sa.select(job_run.c.Id)
        .where(*_MAY_GO, job_run.c.Priority == level.c.priority)
        .order_by(job_run.c.DueAt, job_run.c.Id)
        .limit(count)
        .correlate(level)
    )
    return (
        sa.select(*(run.c[column.name] for column in _CANDIDATE))
        .select_from(level.join(run, run.c.Id.in_(heads)))
        .where(still_waits)
        .order_by(_points(run).desc(), run.c.DueAt, run.c.Id)
        .limit(count)
        .with_for_update(skip_locked=True, of=run)
    )


_NEXT_AGED = FrequentStatement(_next_aged())
_COUNT_RUNNING = (
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
_CLOSED = FrequentStatement(
    sa.select(job_queue.c.Name)
    .where(
        job_queue.c.PausedAt.is_not(None),
        sa.or_(
            job_queue.c.PausedUntil.is_(None),
            job_queue.c.PausedUntil > sa.bindparam("now", type_=UtcDateTime),
        ),
    )
    .union_all(sa.select(job_maintenance.c.Queues).where(windows.HAS_BEGUN))
)
"""The names of paused queues, and the queues of maintenance windows as their column has them."""


@dataclass
class Choice:
    """The runs that a claim takes, and what stands in the way of more.

    Args:
        limits: How many runs of a job may be running at once; a job that is not named has no limit.
        busy: How many are.
        poison: Whether a poison run is on this node.
        fits: See :class:`~.values.ClaimTerms`.
        now: The present instant: once nobody else decides about the limits any more, which may take a while.
        room: How many more runs may start in a queue; one that is not named has no limit.
        misfits: The runs that the node cannot perform.
        expired: The runs whose time is over.
        later: The runs in whose way something is of which nobody tells when it is not there any more.
        keys: What is left of the keys of limits.
    """

    limits: Mapping[str, int]
    busy: Counter[str]
    poison: bool
    fits: Callable[[str, str | None, int], str | None]
    now: datetime
    keys: KeyRooms
    room: dict[str, int] = field(default_factory=dict)
    run_ids: list[int] = field(default_factory=list)
    misfits: list[Misfit] = field(default_factory=list)
    expired: list[int] = field(default_factory=list)
    later: list[Any] = field(default_factory=list)

    @property
    def goes_on(self) -> bool:
        """Whether this claim may look at more runs; else the next one does."""
        return self.keys.more and len(self.misfits) + len(self.expired) < MOST_MISFITS

    def full(self) -> list[str]:
        """The jobs at their limit."""
        return [name for name, limit in self.limits.items() if self.busy[name] >= limit]

    async def look(self, connection: AsyncConnection, rows: Iterable[Any]) -> None:
        """See what is left of the keys of runs; but for those that the node cannot perform, as it does not know what their jobs say of keys."""
        mine = [r for r in rows if r.LimitKey and not self.fits(r.JobName, r.ArgumentsJson, r.Id)]
        await self.keys.look(connection, mine)

    def take(self, row: Any) -> bool:
        """Take a run if nothing is in its way, and say whether."""
        if row.ExpiresAt is not None and row.ExpiresAt <= self.now and row.Attempt == 0:
            self.expired.append(row.Id)
            return False
        why = self.fits(row.JobName, row.ArgumentsJson, row.Id)
        if why is not None:
            self.misfits.append(Misfit(row.Id, row.JobName, why))
            return False
        limit, poison = self.limits.get(row.JobName), row.LostWorkers >= POISON_AFTER
        if limit is not None and self.busy[row.JobName] >= limit:
            return False
        if (poison and self.poison) or self.keys.is_held_up(row):
            self.later.append(row)
            return False
        if self.room.get(row.Queue, 1) < 1 or not self.keys.take(row):
            return False
        if row.Queue in self.room:
            self.room[row.Queue] -= 1
        self.busy[row.JobName] += 1
        self.poison = self.poison or poison
        self.run_ids.append(row.Id)
        return True


async def next_waiting(connection: AsyncConnection, offer: Offer, terms: ClaimTerms) -> Choice:
    """The next runs of each queue that is neither paused nor in maintenance: highest priority, with ageing also by what they have waited, then longest due, then oldest."""
    queues = offer.queues
    if not queues:
        return _choice({}, Counter(), terms, {})
    busy = await _running(connection, terms.limits)
    room = await _room(connection, queues, terms)
    choice = _choice(terms.limits, busy, terms, room)
    closed = {row[0] for row in await _CLOSED.all(connection, {"now": choice.now})}
    refused = refused_by(terms.identity.fingerprint)

    async def choose(queue: str, count: int) -> tuple[int, bool]:
        most = min(count, choice.room.get(queue, count))
        if most < 1 or _is_closed(queue, closed):
            return 0, False
        chosen = await _choose(connection, choice, (queue, offer.aging.get(queue)), most, refused)
        return chosen, chosen == count

    for queue, count in offer.wanted.items():
        await choose(queue, count)
    for shared in offer.shared:
        await shared.turns.fill(shared.free, set(shared.turns.pool.queues), choose)
    return choice


def _is_closed(queue: str, closed: Collection[str]) -> bool:
    if queue in closed:
        return True
    in_window = (text for text in closed if text.startswith(","))
    return any(text == windows.written(()) or f",{queue}," in text for text in in_window)


async def offered(
    connection: AsyncConnection,
    runs: Sequence[OfferedRun],
    aging: Mapping[str, int],
    terms: ClaimTerms,
) -> Choice:
    """Those of the runs that are due and have nothing in their way; where they use up the room of their job, those that are next there instead."""
    names = {run.job_name for run in runs}
    limits = {name: limit for name, limit in terms.limits.items() if name in names}
    busy = await _running(connection, limits)
    room = await _room(connection, {run.queue for run in runs}, terms)
    choice = _choice(limits, busy, terms, room)
    asked = {"ids": [run.run_id for run in runs], "now": choice.now}
    found = {row.Id: row for row in (await connection.execute(_OFFERED, asked)).all()}
    rows = [found[run.run_id] for run in runs if run.run_id in found]
    refused = refused_by(terms.identity.fingerprint)
    first = await _next_of_full(connection, choice, rows, aging, refused)
    in_order = {row.Id: row for row in (*first, *rows)}.values()
    await choice.look(connection, in_order)
    for row in in_order:
        choice.take(row)
    await choice.keys.ask(connection)
    return choice


def _choice(
    limits: Mapping[str, int], busy: Counter[str], terms: ClaimTerms, room: dict[str, int]
) -> Choice:
    now = terms.now if terms.tell is None else terms.tell()
    keys = KeyRooms(terms.keyed, now)
    return Choice(limits, busy, terms.poison_here, terms.fits, now, keys, room)


async def _next_of_full(
    connection: AsyncConnection,
    choice: Choice,
    rows: Sequence[Any],
    aging: Mapping[str, int],
    refused: str,
) -> list[Any]:
    """The runs that are next in jobs of which no more may start than these: an engine's entries are not in the order of a job's runs.

    What they go before waits without an entry until one of the job ends, as any run does that its job's limit holds up.
    """
    found: list[Any] = []
    for (job, queue), count in Counter((row.JobName, row.Queue) for row in rows).items():
        room = choice.limits.get(job, 0) - choice.busy[job]
        if 0 < room <= count:
            asked = {"job": job, "queue": queue, "count": room, "refused": refused}
            if queue in aging:
                asked |= {"aging": aging[queue], "now": choice.now}
                found += await _NEXT_AGED_OF_JOB.all(connection, asked)
            else:
                found += await _NEXT_OF_JOB.all(connection, asked)
    return found


async def _running(connection: AsyncConnection, limited: Collection[str]) -> Counter[str]:
    """How many runs of each job are running; for the limited ones nobody else changes that until the transaction ends."""
    if not limited:
        return Counter()
    dialect = known.of(connection)
    for name in sorted(limited):  # in one order, so that no two nodes wait for each other
        await dialect.lock_job(connection, name)
    return Counter({row[0]: row[1] for row in (await connection.execute(_COUNT_RUNNING)).all()})


async def _room(
    connection: AsyncConnection, queues: Collection[str], terms: ClaimTerms
) -> dict[str, int]:
    """How many more runs may start in each limited queue; nobody else changes that until the transaction ends."""
    limited = sorted(set(queues) & terms.queue_limits.keys())
    if not limited:
        return {}
    for queue in limited:  # after the jobs' locks, in one order
        await lock_queue(connection, queue)
    rows = (await connection.execute(_COUNT_QUEUES, {"queues": limited})).all()
    busy = {row[0]: row[1] for row in rows}
    return {queue: terms.queue_limits[queue] - busy.get(queue, 0) for queue in limited}


async def lock_queue(connection: AsyncConnection, queue: str) -> None:
    """Let one transaction at a time decide about a queue's limit."""
    await known.of(connection).lock_job(connection, f"queue/{queue}")


async def _choose(
    connection: AsyncConnection,
    choice: Choice,
    of: tuple[str, int | None],
    count: int,
    refused: str,
) -> int:
    """Choose up to ``count`` runs of a queue, with its ageing, that may start now, and say how many; those that do not fit are looked at some at a time."""
    queue, aging = of
    before = len(choice.run_ids)
    while count > 0 and choice.goes_on:
        unfit = [*(item.run_id for item in choice.misfits), *choice.expired]
        looked_at = max(count, MOST_MISFITS // 4) if unfit else count
        passed = [*choice.run_ids, *unfit]
        asked = {
            "queue": queue,
            "full": choice.full(),
            "chosen": passed,
            "most_lost": POISON_AFTER - 1 if choice.poison else MOST_LOST_WORKERS,
            "count": looked_at,
            "refused": refused,
        }
        if aging is None:
            candidates = await _NEXT_WAITING.all(connection, asked)
        else:
            asked |= {"aging": aging, "now": choice.now}
            candidates = await _NEXT_AGED.all(connection, asked)
        exhausted = len(candidates) < looked_at
        await choice.look(connection, candidates)
        for row in candidates:
            if count > 0:
                count -= choice.take(row)
        await choice.keys.ask(connection)
        if exhausted:
            break
    return len(choice.run_ids) - before
