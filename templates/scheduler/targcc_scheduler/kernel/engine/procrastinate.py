"""The engine for PostgreSQL: Procrastinate's queue with LISTEN/NOTIFY, on any number of nodes.

The engine uses Procrastinate's public API, with one exception, described in ``procrastinate_entries.py``. ``tests/scheduler/engine`` runs
with the first and the last version of ``PROVEN``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...core.clock import Clock, together
from ...core.outage import Outage
from ...core.pools import Pool
from ...core.states import RunState
from ...db.dialects import known
from ..runs.claim import lock_queue
from ..runs.create import CLAIMABLE, refused_by
from ..runs.values import ASKS
from .port import Submission, Worker
from .procrastinate_entries import (
    ELSEWHERE,
    NOT_PAUSED,
    OPEN,
    QUEUE_OUTAGES,
    STILL_AGED,
    QueueWorker,
    defer,
    make_app,
    pause,
    psycopg_connection,
)

# Supported versions of Procrastinate.

PROVEN = ("3.8", "3.11")
"""Supported versions of Procrastinate: the first version and later, below the last version."""


# The engine for PostgreSQL: Procrastinate's queue, with LISTEN/NOTIFY, on any number of machines.
#
# One job of Procrastinate, an *entry*, announces that a run waits. An entry is deferred on the caller's connection and commits with the
# run's row. ``procrastinate_entries.py`` takes entries and claims their runs in one transaction. Procrastinate's retries, schedules and
# history are not used: the run's row is the source of truth.

log = logging.getLogger("targcc.engine.procrastinate.engine")

_LOST_ENTRY_SECONDS = 5
"""Seconds overdue after which a run is offered again, in a queue whose workers find no entry."""
_SWEEP_SIZE = 200
"""Maximum number of runs that a sweep offers again for one job."""
_LISTENING_ENDS_SECONDS, _CANCELLED_AGAIN_SECONDS = 5.0, 0.2
"""Time limit for closing the listening connections, after which the node stops anyway; interval between repeated cancellations."""
_BEHIND, _SHORTEST_LOOK = timedelta(seconds=1), timedelta(seconds=0.02)

_WAITS = f"""(
    State = '{RunState.ENQUEUED}'
    OR (State IN ('{RunState.SCHEDULED}', '{RunState.RETRYING}') AND DueAt <= now()
        AND (LimitKey IS NULL OR substr(LimitKey, 1, 1) <> '{ASKS}'))
)"""
_NOT_REFUSED = "(RefusedBy IS NULL OR RefusedBy NOT LIKE :refused)"


@dataclass(frozen=True, eq=False)
class _Next:
    """The statements that select the runs to offer next."""

    of_job: sa.TextClause
    of_queue: sa.TextClause
    overdue: sa.TextClause
    of_ids: sa.TextClause


def _claimable() -> str:
    """Return the claim conditions of the installed features as text for ``sa.text``."""
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
    return str(CLAIMABLE.compile(dialect=dialect)).replace(
        ":", r"\:"
    )  # a colon begins no parameter


@cache
def _next(order: str) -> _Next:
    what = "SELECT Id, Queue, Priority, DueAt, RefusedBy IS NOT NULL AS refused"
    waits = f"{_claimable()} AND {_WAITS} AND {_NOT_REFUSED}"
    next_ones = f"{waits} ORDER BY {order} LIMIT :count"
    overdue = f"""
        {what} FROM (
            SELECT *, row_number() OVER (PARTITION BY JobName ORDER BY {order}) AS place
            FROM c_JobRun
            WHERE {waits} AND DueAt < now() - make_interval(secs => {_LOST_ENTRY_SECONDS})
            AND Queue IN :queues AND {NOT_PAUSED.format(queue="c_JobRun.Queue")}
        ) AS run
        WHERE place <= {_SWEEP_SIZE}
        ORDER BY Id
        """  # noqa: S608 - constants of this module
    return _Next(
        sa.text(f"{what} FROM c_JobRun WHERE JobName = :job_name AND {next_ones}"),
        sa.text(f"{what} FROM c_JobRun WHERE Queue = :queue AND {next_ones}"),
        sa.text(overdue).bindparams(sa.bindparam("queues", expanding=True)),
        sa.text(f"{what} FROM c_JobRun WHERE Id = ANY (:ids) AND {waits} ORDER BY Id"),
    )


_POINTS = (
    "Priority + extract(epoch FROM now() - DueAt) / (CAST(:aging AS jsonb) ->> Queue)::integer"
)
"""Points of a run in a queue with ageing; NULL in any other queue."""
_PLAIN = "Priority DESC, DueAt, Id"
_AGED = f"coalesce({_POINTS}, Priority) DESC, DueAt, Id"


class ProcrastinateEngine:
    """Offer runs through Procrastinate's queue.

    Args:
        engine: The scheduler's database.
        clock: Tells whether a run is due, and how long until the next run is due.
        poll: Interval between polls for waiting runs, regardless of notifications.
        aging: For queues with ageing, the waiting seconds that count as one priority point.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Clock,
        *,
        poll: timedelta,
        aging: Mapping[str, int] | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._poll = poll
        self._aging = dict(aging or {})
        self._next = _next(_AGED if aging else _PLAIN)
        self._app = make_app(engine.url)
        self._draining = asyncio.Event()
        self._due_later = asyncio.Event()
        self._queues: list[QueueWorker] = []
        self._hearing: list[asyncio.Task[None]] = []
        self._worker: Worker | None = None

    async def open(self) -> None:
        """Do nothing: entries are written on the caller's connection."""

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Write an entry for each run, or bundles for many runs."""
        await defer(self._app, connection, runs, self._clock.now(), aging=self._aging)

    async def submits_on(self, connection: AsyncConnection) -> bool:
        """Return whether the connection's driver is psycopg."""
        return await psycopg_connection(connection) is not None

    async def withdraw(self, connection: AsyncConnection, run_ids: Sequence[int]) -> None:
        """Do nothing: an entry of a run that is over has no effect."""

    async def release(
        self,
        connection: AsyncConnection,
        *,
        job_name: str | None = None,
        count: int = 1,
        queue: str | None = None,
    ) -> None:
        """Write entries for the next runs of a job or a queue. A resumed queue still has all its entries: one new entry wakes its workers.

        First take the lock that a claim holds while deciding about a job's limit. Without the lock, a claim that does not see this
        transaction's change yet would drop the entry of a run just after the entry was written.
        """
        if job_name is not None:
            await known.of(connection).lock_job(connection, job_name)
            await self._offer(connection, self._next.of_job, {"job_name": job_name, "count": count})
        if queue is not None:
            await lock_queue(connection, queue)
            await self._offer(connection, self._next.of_queue, {"queue": queue, "count": count})

    async def refer(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Write an entry for each refused run; nodes that have refused the run do not take the entry."""
        now = self._clock.now()
        await defer(self._app, connection, runs, now, ELSEWHERE, aging=self._aging)

    def wake(self) -> None:
        """Do nothing: PostgreSQL notifies the workers of the commit."""

    async def work(
        self, worker: Worker, queues: Mapping[str, int], pools: Sequence[Pool] = ()
    ) -> None:
        """Take entries from each queue until drained; return when all begun runs are settled."""
        self._draining.clear()
        self._worker = worker
        self._queues = [
            QueueWorker(
                worker,
                pool,
                aging=self._aging,
                poll=self._poll,
                draining=self._draining,
                due_later=self._due_later,
                open_bundle=self._open_bundle,
            )
            for pool in (*itertools.starmap(Pool.alone, queues.items()), *pools)
            if pool.workers > 0
        ]
        listening = asyncio.create_task(self._listen())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(worker))
                for queue in self._queues:
                    group.create_task(queue.work())
        finally:
            self._draining.set()
            await self._end_listening(listening)

    def drain(self) -> None:
        """Stop taking entries."""
        self._draining.set()
        self._due_later.set()
        for queue in self._queues:
            queue.look()

    async def rescue(self, lost: Sequence[Submission]) -> None:
        """Offer overdue runs again in queues whose workers on this node find no entry. One node at a time does this sweep."""
        del lost  # their entries were written in the transaction that enqueued them
        await self._count_anew()
        idle = sorted(name for queue in self._queues for name in queue.found_all)
        if not idle:
            return
        async with self._engine.begin() as connection:
            alone = await connection.scalar(
                sa.select(sa.func.pg_try_advisory_xact_lock(sa.func.hashtext("targcc/sweep")))
            )
            if alone:
                await self._offer(connection, self._next.overdue, {"queues": idle})

    async def close(self) -> None:
        """Do nothing: the listening connections are closed when :meth:`work` ends."""

    async def _count_anew(self) -> None:
        """Renumber the entries of queues without ageing that still have numbers with ageing.

        With the old numbers, these entries would wait for ever behind all other entries of their queue.
        """
        plain = [name for queue in self._queues for name in queue.queues if name not in self._aging]
        refused = refused_by(self._fingerprint())
        asked = {"queues": plain, "refused": refused, "count": _SWEEP_SIZE}
        found = _SWEEP_SIZE if plain else 0
        while found >= _SWEEP_SIZE:
            async with self._engine.begin() as connection:
                ids = [row.run_id for row in await connection.execute(STILL_AGED, asked)]
                if ids:
                    await self._offer(connection, self._next.of_ids, {"ids": ids})
            found = len(ids)

    async def _open_bundle(self, queue: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(OPEN, {"queue": queue, "refused": None, "count": 1})

    async def _offer(
        self, connection: AsyncConnection, query: sa.TextClause, asked: Mapping[str, object]
    ) -> None:
        """Write entries for the due runs that a query returns."""
        now = self._clock.now()
        refused = refused_by(self._fingerprint()) or "%"  # no worker here: leave out refused runs
        asked = {**asked, "refused": refused}
        if self._aging:
            asked["aging"] = json.dumps(self._aging)
        rows = (await connection.execute(query, asked)).all()
        runs = {False: self.submit, True: self.refer}
        for is_refused, submit in runs.items():
            mine = [row for row in rows if row.refused == is_refused]
            if mine:
                await submit(connection, [_due(row, now) for row in mine])

    def _fingerprint(self) -> str:
        return self._worker.fingerprint if self._worker is not None else ""

    async def _listen(self) -> None:
        """Listen for entries until drained. While the database is unavailable, keep trying."""
        outage = Outage(log, "listening for runs")
        while not self._draining.is_set():
            try:
                async with self._app.open_async(), asyncio.TaskGroup() as group:
                    outage.over()
                    self._hearing = [
                        group.create_task(queue.listen(self._app)) for queue in self._queues
                    ]
            except* QUEUE_OUTAGES as errors:
                await pause(self._draining, outage.failed(errors.exceptions[0]))

    async def _end_listening(self, listening: asyncio.Task[None]) -> None:
        """Cancel the listening tasks repeatedly: the error of a broken connection may replace a cancellation, and the task listens again."""
        for _ in range(round(_LISTENING_ENDS_SECONDS / _CANCELLED_AGAIN_SECONDS)):
            for task in (listening, *self._hearing):
                task.cancel()
            await asyncio.wait((listening,), timeout=_CANCELLED_AGAIN_SECONDS)
            if listening.done():
                return

    async def _watch(self, worker: Worker) -> None:
        """Poll for runs that became due, or whose notification was lost, until drained."""
        names = [name for queue in self._queues for name in queue.queues]
        while not self._draining.is_set():
            self._due_later.clear()
            waiting, due = await self._waiting(worker, names)
            if waiting:
                for queue in self._queues:
                    queue.look()
            await pause(self._due_later, self._until(due))

    async def _waiting(self, worker: Worker, queues: list[str]) -> tuple[bool, datetime | None]:
        """Return whether runs wait for a worker, and the next due instant. Stage runs that are due."""
        try:
            waiting, due = await worker.due(queues)
            if due is not None and due <= self._clock.now():
                await worker.stage()  # for runs that are blocked, or ask for their keys
        except QUEUE_OUTAGES:  # the claims log the outage
            return False, None
        return waiting, due

    def _until(self, due: datetime | None) -> timedelta:
        """Return the time until the next poll."""
        left = self._poll if due is None else due - self._clock.now()
        if left < -_BEHIND:  # overdue: the run is blocked
            return self._poll
        if left < self._poll:
            return max(left, _SHORTEST_LOOK)
        return timedelta(seconds=together(self._poll.total_seconds()))


def _due(row: Any, now: datetime) -> Submission:
    """Build the submission of a run that may start at once, even if clocks differ. An earlier due time stays, and with it the run's age."""
    return Submission(row.id, row.queue, row.priority, min(row.dueat, now))
