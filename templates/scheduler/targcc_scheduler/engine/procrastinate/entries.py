"""Taking entries: those of one queue at a time, as many as there are free slots, in the one transaction that claims their runs.

**The one exception to Procrastinate's public API** is what the statements below take. Procrastinate's worker fetches one job at a time and says of
each that it is finished; so a run costs two round trips more, and two statements more on the server, than its claim and its outcome do,
which this engine writes in batches. The figures are in ``docs/performance.md``. The statement uses the columns of
``procrastinate_jobs`` that Procrastinate's own Django model publishes, and deletes only entries of our task; a contract test holds it
against the versions that ``__init__.py`` names. What it brings besides: an entry is in nobody's hands, so that a lost worker
leaves none behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import procrastinate
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import NodeUnknown
from ...core.outage import Outage
from ...core.queues.ageing import BEHIND_ALL, LEAST_PLAIN
from ...core.queues.pool import Pool
from ...core.queues.turns import Turns
from ...core.states import RunState
from ...storage.runs.claim_at_once import Entries, Taken
from ...storage.runs.stage import refused_by
from ...storage.runs.values import Claim, Offer, OfferedRun
from ..port import Worker
from .tasks import BUNDLE, ELSEWHERE, QUEUE_OUTAGES, TASK

log = logging.getLogger("targcc.engine.procrastinate.entries")

_LISTENING_BEGINS_SECONDS = (0.1, 0.4, 1.0, 3.0)
"""The pauses between the looks while the connection that listens is being made."""
_GATHER_SECONDS = 0.001
"""Workers that become free together get their next runs together."""

NOT_PAUSED = """NOT EXISTS (
    SELECT 1 FROM c_JobQueue
    WHERE Name = {queue} AND PausedAt IS NOT NULL AND (PausedUntil IS NULL OR PausedUntil > now())
) AND NOT EXISTS (
    SELECT 1 FROM c_JobMaintenance
    WHERE StartsAt <= now() AND EndsAt > now()
    AND (Queues = ',' OR position(',' || {queue} || ',' IN Queues) > 0)
)"""
"""That a queue is neither paused nor in maintenance."""


def _first(which: str) -> str:
    """The first entries, and bundles among them, of those for which a condition holds."""
    return f"""
        SELECT id AS entry, (args ->> 'run_id')::bigint AS run_id, priority FROM procrastinate_jobs
        WHERE status = 'todo' AND {which}
        AND (scheduled_at IS NULL OR scheduled_at <= now())
        AND (task_name IN ('{TASK}', '{BUNDLE}') OR (task_name = '{ELSEWHERE}' AND NOT EXISTS (
            SELECT 1 FROM c_JobRun
            WHERE Id = (args ->> 'run_id')::bigint
            AND UnknownSince IS NOT NULL AND RefusedBy LIKE :refused
        )))
        ORDER BY priority DESC, id
        LIMIT :count
        FOR UPDATE SKIP LOCKED
    """  # noqa: S608 - constants of this module


def _without(entries: str) -> str:
    """Take entries out."""
    return (
        f"DELETE FROM procrastinate_jobs WHERE id = ANY (ARRAY({entries}))"  # noqa: S608 - as above
    )


_MAY_BE_TAKEN = f"queue_name = :queue AND {NOT_PAUSED.format(queue=':queue')}"
_NEXT = f"""
    SELECT entry, run_id, priority FROM (
        SELECT *, bool_or(run_id IS NULL) OVER (
            ORDER BY priority DESC, entry ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS after_a_bundle
        FROM ({_first(_MAY_BE_TAKEN)}) AS first_ones
    ) AS in_order
    WHERE after_a_bundle IS NOT TRUE
"""  # noqa: S608 - constants of this module
_PARAMETERS = (
    sa.bindparam("queue", type_=sa.Text),
    sa.bindparam("refused", type_=sa.Text),
    sa.bindparam("count", type_=sa.Integer),
)
ENTRIES = Entries(
    # Without spaces: Psycopg reads a statement of more than 4,096 characters anew each time.
    sa.text(" ".join(_NEXT.split())).bindparams(*_PARAMETERS),
    sa.table("procrastinate_jobs", sa.column("id", sa.BigInteger)),
)
_TAKE = sa.text(f"""
    WITH next_ones AS MATERIALIZED ({_NEXT}),
    taken AS ({_without("SELECT entry FROM next_ones WHERE run_id IS NOT NULL")})
    SELECT next_ones.run_id, run.JobName AS job_name, run.ArgumentsJson AS arguments_json
    FROM next_ones LEFT JOIN c_JobRun AS run ON run.Id = next_ones.run_id
    ORDER BY next_ones.priority DESC, next_ones.entry
    """).bindparams(*_PARAMETERS)  # noqa: S608 - constants of this module
# By the run's id alone: of an index of all that are not over the planner may think that it is short.
_MAY_WAIT = f"coalesce(CompletedAt, 'infinity') = 'infinity' AND State <> '{RunState.AWAITING}'"
_A_BUNDLE = _first(f"task_name = '{BUNDLE}' AND {_MAY_BE_TAKEN}")
OPEN = sa.text(f"""
    WITH opened AS (
        {_without(f"SELECT entry FROM ({_A_BUNDLE}) AS bundle")}
        RETURNING queue_name, priority, args
    )
    SELECT cardinality(procrastinate_defer_jobs_v1(array_agg(
        ROW(queue_name, '{TASK}'::varchar, priority | 1, NULL, NULL,
            jsonb_build_object('run_id', run_id::bigint), NULL)::procrastinate_job_to_defer_v1
        ORDER BY place
    )))
    FROM opened, jsonb_array_elements_text(args -> 'run_ids') WITH ORDINALITY AS given (run_id, place)
    WHERE EXISTS (SELECT FROM c_JobRun WHERE Id = run_id::bigint AND {_MAY_WAIT})
    """).bindparams(*_PARAMETERS)  # noqa: S608 - constants of this module
"""Opens the bundle that is next in a queue, of a ``count`` of 1: entries of its runs take its place, but of those that are over or wait for room. It ends as Procrastinate's
``batch_defer`` does."""
_AGED = _first(
    f"queue_name = ANY (:queues) AND priority > {BEHIND_ALL} AND priority < {LEAST_PLAIN}"
)
STILL_AGED = sa.text(f"""
    WITH taken AS ({_without(f"SELECT entry FROM ({_AGED}) AS first_ones")} RETURNING args)
    SELECT run_id::bigint AS run_id
    FROM taken, jsonb_array_elements_text(
        COALESCE(args -> 'run_ids', jsonb_build_array(args -> 'run_id'))
    ) AS given (run_id)
    """)  # noqa: S608 - constants of this module
"""Takes entries and bundles with the numbers of a queue with ageing; their runs are to get others in the same transaction."""


class QueueWorker:
    """Takes the entries of a queue, or of the queues of a pool by turns, and has their runs performed.

    Args:
        worker: Claims and performs.
        pool: The queues, and how many of their runs at a time.
        aging: For some queues, the seconds of waiting that count as one point of priority.
        poll: How long to wait after an error.
        draining: Set when nothing more is to be taken.
        due_later: Called when a notification was about a run that is due later.
        open_bundle: Opens the bundle that is next in a queue.
    """

    def __init__(
        self,
        worker: Worker,
        pool: Pool,
        *,
        aging: Mapping[str, int],
        poll: timedelta,
        draining: asyncio.Event,
        due_later: asyncio.Event,
        open_bundle: Callable[[str], Awaitable[None]],
    ) -> None:
        self.queues = pool.queues
        self.found_all: set[str] = set()
        """The queues in which the last look took all entries that there were."""
        self._worker = worker
        self._slots = pool.workers
        self._turns = Turns(pool)
        self._waiting: set[str] = set()
        """The queues in which there may be entries, by the last look."""
        self._told: set[str] = set()
        """Those of which was heard since."""
        self._aging = aging
        self._poll = poll
        self._draining = draining
        self._due_later = due_later
        self._open_bundle = open_bundle
        self._running: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._notified = False
        self._outage = Outage(log, "claiming runs")

    def look(self) -> None:
        """Look for entries now, in each of its queues."""
        self._told.update(self.queues)
        self._look.set()

    async def listen(self, app: procrastinate.App) -> None:
        """Look whenever an entry is written, until drained. While the database is unavailable, keep trying."""

        async def notified(*, channel: str, notification: object) -> None:
            del notification
            queue = channel.rpartition("#")[2]
            self._notified = True
            self._told.update((queue,) if queue in self.queues else self.queues)
            self._look.set()

        while not self._draining.is_set():  # an error may stand in for a cancellation
            looking = asyncio.create_task(self._look_until_it_listens())
            try:
                with contextlib.suppress(*QUEUE_OUTAGES):  # the heartbeat says so
                    await app.job_manager.listen_for_jobs(
                        on_notification=notified, queues=list(self.queues)
                    )
            finally:
                looking.cancel()
            await pause(self._draining, self._poll)

    async def _look_until_it_listens(self) -> None:
        """Look a few times: Procrastinate does not say when it listens, and nobody is told of what was written until then."""
        for seconds in _LISTENING_BEGINS_SECONDS:
            await asyncio.sleep(seconds)
            self.look()

    async def work(self) -> None:
        """Take entries and begin their runs until drained; returns when those are settled."""
        while not self._draining.is_set():
            self._look.clear()
            if not await self._claim():
                await self._look.wait()
                if self._running:  # others may end now too
                    await asyncio.sleep(_GATHER_SECONDS)
        while self._running:
            await asyncio.wait(self._running)

    async def _claim(self) -> bool:
        """Take as many entries as there are free slots and begin their runs; whether there may be more of both."""
        free = self._slots - len(self._running)
        if free <= 0 or self._worker.holds:
            if self._worker.holds:
                self.found_all.clear()
            return False
        self._waiting |= self._told
        self._told.clear()
        if not self._waiting:  # a run that ended may have made room for others
            self._waiting.update(self.queues)
        try:
            begun = await self._turns.fill(free, self._waiting, self._take)
        except QUEUE_OUTAGES as error:
            self.look()
            await pause(self._draining, self._outage.failed(error))
            return True
        except NodeUnknown:  # the next heartbeat finds out, and registers again
            self.look()
            await pause(self._draining, self._poll)
            return True
        self._outage.over()
        if not begun and self._notified:  # it is due later, or asks for its keys
            self._due_later.set()
        self._notified = False
        return bool(self._waiting)

    async def _take(self, queue: str, count: int) -> tuple[int, bool]:
        """Take up to so many entries of a queue and begin their runs; how many began, and whether there may be more entries."""
        if self._draining.is_set():
            return 0, False
        asked = {"queue": queue, "refused": refused_by(self._worker.fingerprint), "count": count}
        taken = await self._worker.claim_at_once(ENTRIES, queue, asked)
        if taken is None:
            taken = await self._claim_one_by_one(asked)
        for claim in taken.claims:
            self._begin(claim)
        if taken.bundle:
            await self._open_bundle(queue)
        more = taken.count >= count or taken.rest or taken.bundle
        (self.found_all.discard if more else self.found_all.add)(queue)
        return len(taken.claims), more

    async def _claim_one_by_one(self, asked: Mapping[str, Any]) -> Taken:
        """Take entries in a transaction in which each of their runs is looked at."""
        rows: Sequence[Any] = ()

        async def offer(connection: AsyncConnection) -> Offer:
            nonlocal rows
            rows = (await connection.execute(_TAKE, asked)).all()
            return Offer(runs=_offered(rows, asked["queue"]), aging=self._aging)

        claims = await self._worker.claim(offer)
        bundle = any(row.run_id is None for row in rows)
        return Taken(claims, len(rows), rest=False, bundle=bundle)

    def _begin(self, claim: Claim) -> None:
        task = asyncio.create_task(self._worker.perform(claim), name=f"run {claim.run_id}")
        self._running.add(task)
        task.add_done_callback(lambda task: self._ended(task, claim.run_id))

    def _ended(self, task: asyncio.Task[None], run_id: int) -> None:
        self._running.discard(task)
        self._look.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("run %d ended with a fault of the scheduler", run_id, exc_info=error)


def _offered(rows: Sequence[Any], queue: str) -> list[OfferedRun]:
    """The runs of entries, each once; runs that were deleted are left out."""
    runs = {row.run_id: row for row in rows if row.job_name is not None}
    return [OfferedRun(id_, row.job_name, row.arguments_json, queue) for id_, row in runs.items()]


async def pause(event: asyncio.Event, longest: timedelta) -> None:
    """Wait for an event, but not too long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), longest.total_seconds())
