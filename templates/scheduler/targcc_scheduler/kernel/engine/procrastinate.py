"""The engine for PostgreSQL: Procrastinate's queue with LISTEN/NOTIFY, on any number of nodes.

Its public API is used, with one exception, which ``entries.py`` names. ``tests/scheduler/engine`` proves it with the first and the last
of these versions.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...core.clock import Clock, together
from ...core.outage import Outage
from ...core.pools import Pool
from ...core.states import RunState
from ...db.dialects import known
from ...features.legacy.owners import IS_OURS_SQL
from ..runs.claim import lock_queue
from ..runs.create import refused_by
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

# The engine for PostgreSQL, on Procrastinate.

PROVEN = ("3.8", "3.11")
"""Procrastinate from the first of these versions on, and before the last."""


# The engine for PostgreSQL: Procrastinate's queue, with LISTEN/NOTIFY, on any number of machines.
#
# One job of Procrastinate, an *entry*, says that a run waits (``tasks.py``). It is deferred on the caller's connection, and so commits with
# the run's row. ``entries.py`` takes entries and claims their runs in one transaction. Procrastinate's retries, schedules and history are
# not used: the truth about a run is its row.

log = logging.getLogger("targcc.engine.procrastinate.engine")

_LOST_ENTRY_SECONDS = 5
"""A run that is due for so long, in a queue whose workers find no entry, is offered again."""
_SWEEP_SIZE = 200
"""How many runs of one job a sweep offers again."""
_LISTENING_ENDS_SECONDS, _CANCELLED_AGAIN_SECONDS = 5.0, 0.2
"""How long the connections that listen may take to close; then the node stops without them. How often they are told to."""
_BEHIND, _SHORTEST_LOOK = timedelta(seconds=1), timedelta(seconds=0.02)

_WAITS = f"""({IS_OURS_SQL} AND (
    State = '{RunState.ENQUEUED}'
    OR (State IN ('{RunState.SCHEDULED}', '{RunState.RETRYING}') AND DueAt <= now()
        AND (LimitKey IS NULL OR substr(LimitKey, 1, 1) <> '{ASKS}'))
))"""
_NOT_REFUSED = "(RefusedBy IS NULL OR RefusedBy NOT LIKE :refused)"


@dataclass(frozen=True, eq=False)
class _Next:
    """The statements that say which runs are offered next."""

    of_job: sa.TextClause
    of_queue: sa.TextClause
    overdue: sa.TextClause
    of_ids: sa.TextClause


def _next(order: str) -> _Next:
    what = "SELECT Id, Queue, Priority, DueAt, RefusedBy IS NOT NULL AS refused"
    waits = f"{_WAITS} AND {_NOT_REFUSED}"
    of_one = f"{what} FROM c_JobRun WHERE {{which}} AND {waits} ORDER BY {order} LIMIT :count"
    overdue = f"""
        {what} FROM (
            SELECT *, row_number() OVER (PARTITION BY JobName ORDER BY {order}) AS place
            FROM c_JobRun AS run
            WHERE {waits} AND DueAt < now() - make_interval(secs => {_LOST_ENTRY_SECONDS})
            AND Queue IN :queues AND {NOT_PAUSED.format(queue="run.Queue")}
        ) AS run
        WHERE place <= {_SWEEP_SIZE}
        ORDER BY Id
        """  # noqa: S608 - constants of this module
    return _Next(
        sa.text(of_one.format(which="JobName = :job_name")),
        sa.text(of_one.format(which="Queue = :queue")),
        sa.text(overdue).bindparams(sa.bindparam("queues", expanding=True)),
        sa.text(f"{what} FROM c_JobRun WHERE Id = ANY (:ids) AND {waits} ORDER BY Id"),
    )


_POINTS = (
    "Priority + extract(epoch FROM now() - DueAt) / (CAST(:aging AS jsonb) ->> Queue)::integer"
)
"""What a run has in a queue with ageing; NULL in any other."""
_PLAIN = _next("Priority DESC, DueAt, Id")
_AGED = _next(f"coalesce({_POINTS}, Priority) DESC, DueAt, Id")


class ProcrastinateEngine:
    """Offers runs by Procrastinate's queue.

    Args:
        engine: The scheduler's database.
        clock: Tells which run is due already, and how long until the next is.
        poll: How often to look for runs that wait, whatever was notified.
        aging: For some queues, the seconds of waiting that count as one point of priority.
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
        self._next = _AGED if aging else _PLAIN
        self._app = make_app(engine.url)
        self._draining = asyncio.Event()
        self._due_later = asyncio.Event()
        self._queues: list[QueueWorker] = []
        self._hearing: list[asyncio.Task[None]] = []
        self._worker: Worker | None = None

    async def open(self) -> None:
        """Nothing to open: entries are written on the caller's connection."""

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Write an entry for each run, or for many together."""
        await defer(self._app, connection, runs, self._clock.now(), aging=self._aging)

    async def submits_on(self, connection: AsyncConnection) -> bool:
        """Whether it is one of psycopg."""
        return await psycopg_connection(connection) is not None

    async def withdraw(self, connection: AsyncConnection, run_ids: Sequence[int]) -> None:
        """Nothing to write: an entry of a run that is over does nothing."""

    async def release(
        self,
        connection: AsyncConnection,
        *,
        job_name: str | None = None,
        count: int = 1,
        queue: str | None = None,
    ) -> None:
        """Write entries for the next runs of a job or a queue. The entries of a queue that was paused are all there: one wakes its workers.

        The lock that a claim holds while it decides about a job's limit is taken first: a claim that does not see this
        transaction's change yet would drop the entry of a run just after we have given it one.
        """
        if job_name is not None:
            await known.of(connection).lock_job(connection, job_name)
            await self._offer(connection, self._next.of_job, {"job_name": job_name, "count": count})
        if queue is not None:
            await lock_queue(connection, queue)
            await self._offer(connection, self._next.of_queue, {"queue": queue, "count": count})

    async def refer(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Write an entry for each run which those that have refused it do not take."""
        now = self._clock.now()
        await defer(self._app, connection, runs, now, ELSEWHERE, aging=self._aging)

    def wake(self) -> None:
        """Nothing to do: PostgreSQL notifies the workers of the commit."""

    async def work(
        self, worker: Worker, queues: Mapping[str, int], pools: Sequence[Pool] = ()
    ) -> None:
        """Take from each queue; returns when all that was begun is settled."""
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
        """Take nothing more."""
        self._draining.set()
        self._due_later.set()
        for queue in self._queues:
            queue.look()

    async def rescue(self, lost: Sequence[Submission]) -> None:
        """Offer runs again that are overdue in queues whose workers here find no entry; one node at a time does so."""
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
        """Nothing to return: the connections that listen are closed when the work ends."""

    async def _count_anew(self) -> None:
        """Give entries of queues whose ageing was taken away the numbers of all others there: behind those they would wait for ever."""
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
        """Write entries for runs that are due already."""
        now = self._clock.now()
        refused = refused_by(self._fingerprint()) or "%"  # who works not may not know them either
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
        """Hear of entries, until drained; while the database is unavailable, keep trying."""
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
        """Cancel what listens, and again: the error of a connection that broke may have stood in for the cancellation, and it listens anew."""
        for _ in range(round(_LISTENING_ENDS_SECONDS / _CANCELLED_AGAIN_SECONDS)):
            for task in (listening, *self._hearing):
                task.cancel()
            await asyncio.wait((listening,), timeout=_CANCELLED_AGAIN_SECONDS)
            if listening.done():
                return

    async def _watch(self, worker: Worker) -> None:
        """Look for runs that became due, or whose notification was lost, until drained."""
        names = [name for queue in self._queues for name in queue.queues]
        while not self._draining.is_set():
            self._due_later.clear()
            waiting, due = await self._waiting(worker, names)
            if waiting:
                for queue in self._queues:
                    queue.look()
            await pause(self._due_later, self._until(due))

    async def _waiting(self, worker: Worker, queues: list[str]) -> tuple[bool, datetime | None]:
        """Whether runs wait for a worker, and when the next is due."""
        try:
            waiting, due = await worker.due(queues)
            if due is not None and due <= self._clock.now():
                await worker.stage()  # something holds it up, or it asks for its keys now
        except QUEUE_OUTAGES:  # the claims say so
            return False, None
        return waiting, due

    def _until(self, due: datetime | None) -> timedelta:
        """How long until the next look."""
        left = self._poll if due is None else due - self._clock.now()
        if left < -_BEHIND:  # something holds it up
            return self._poll
        if left < self._poll:
            return max(left, _SHORTEST_LOOK)
        return timedelta(seconds=together(self._poll.total_seconds()))


def _due(row: Any, now: datetime) -> Submission:
    """A run that may start at once, whatever the clocks of its creator and this node say; it keeps its age."""
    return Submission(row.id, row.queue, row.priority, min(row.dueat, now))
