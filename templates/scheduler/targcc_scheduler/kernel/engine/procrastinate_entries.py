"""Entries of Procrastinate's queue: defer one for each waiting run, and take them in order of priority.

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
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import procrastinate
import psycopg
import sqlalchemy as sa
from procrastinate.exceptions import ConnectorException
from procrastinate.types import JSONDict
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import NodeUnknown
from ...core.outage import OUTAGES, Outage
from ...core.pools import BEHIND_ALL, LEAST_PLAIN, Pool, Turns, entry_priority
from ...core.states import RunState
from ...db.dialects.frequent import FrequentStatement, listed
from ...db.dialects.psycopg_driver import QuietConnection
from ..runs.claim import Entries, Taken
from ..runs.create import refused_by
from ..runs.values import Claim, Offer, OfferedRun
from .port import Submission, Worker

# Entries: jobs of Procrastinate, each of which says that one run waits. They are deferred and listened for by its public API.
#
# A *bundle* is an entry of many runs, so that a call which creates thousands of them does not write as many entries. It has its place in the queue like
# any other; whoever comes to it replaces it by entries of its runs, which go before all others of its priority, since those came later.
# Nodes of a release that knows no bundles leave them to others.
#
# An entry is a hint and no more: one for a run that is over, or that waits no longer, does nothing when it is taken, and neither does a
# second one. So a run that is to go sooner gets another entry, and one that is cancelled keeps its own.

TASK = "targcc.run"
"""The name of the task of nearly all entries; its argument is a run's id."""

ELSEWHERE = "targcc.run.elsewhere"
"""The task of entries of runs that a node has refused: whoever takes them looks first whether it was itself."""

BUNDLE = "targcc.runs"
"""The task of bundles; its argument is a list of runs' ids."""
_AT_LEAST = 5_000
"""So many runs that are submitted together, with the same queue, priority and time, are bundled: their entries are written later, as they are taken."""
_IN_A_BUNDLE = 200
"""Runs whose entries are written by whoever opens it: that takes the server about 4 ms of its processor."""

_DEFER = FrequentStatement(
    sa.text("""
    SELECT cardinality(procrastinate_defer_jobs_v1(array_agg(
        ROW(CAST(:queue AS varchar), CAST(:task AS varchar), CAST(:priority AS integer), NULL, NULL,
            jsonb_build_object('run_id', run_id), CAST(:due_at AS timestamptz))::procrastinate_job_to_defer_v1
        ORDER BY place
    ))) AS count
    FROM unnest(CAST(:run_ids AS bigint[])) WITH ORDINALITY AS given (run_id, place)
    """)
    .bindparams(
        sa.bindparam("due_at", type_=sa.DateTime(timezone=True)),
        listed("run_ids", sa.BigInteger),
    )
    .columns(sa.column("count", sa.Integer))
)
"""Writes several entries at once. It ends as Procrastinate's own ``batch_defer`` does, without 18 values for each of them."""

QUEUE_OUTAGES = (*OUTAGES, ConnectorException, psycopg.Error)
"""What is raised while the database is unavailable, by SQLAlchemy or by Procrastinate."""


def make_app(url: sa.URL) -> procrastinate.App:
    """Procrastinate for a database. It defers on the caller's connections; opened, it listens on connections of its own."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connector = procrastinate.PsycopgConnector(
        conninfo=address,
        connection_class=QuietConnection,
        kwargs={"application_name": "targcc"},
        min_size=0,
        max_size=1,
        timeout=5,
    )
    return procrastinate.App(connector=connector)


async def defer(
    app: procrastinate.App,
    connection: AsyncConnection,
    runs: Sequence[Submission],
    now: datetime,
    task: str = TASK,
    *,
    aging: Mapping[str, int],
) -> None:
    """Write entries for runs, in the transaction of ``connection``, and bundles where they are many; where Procrastinate cannot, there is none until somebody looks.

    Args:
        app: Procrastinate.
        connection: The transaction.
        runs: The runs.
        now: The present instant.
        task: Who takes the entries, see :data:`TASK` and :data:`ELSEWHERE`.
        aging: For some queues, the seconds of waiting that count as one point of priority.

    Raises:
        sqlalchemy.exc.OperationalError: the database is unavailable.
    """
    driver = await psycopg_connection(connection)
    if driver is None:
        return
    if isinstance(driver, psycopg.Connection):  # a plain one of the application's
        app = _plain_app()
    for (queue, priority, due_at), ids in _alike(runs, now, aging).items():
        is_many = task == TASK and len(ids) >= _AT_LEAST
        if len(ids) > 1 and not is_many:
            given = {"queue": queue, "task": task, "priority": priority, "due_at": due_at}
            await _DEFER.all(connection, {**given, "run_ids": ids})
            continue
        entry = app.configure_task(
            BUNDLE if is_many else task,
            queue=queue,
            priority=priority,
            schedule_at=due_at,
            connection=driver,
        )
        arguments = _bundles(ids) if is_many else map(_arguments, ids)
        with _as_sqlalchemy_has_it():
            if isinstance(driver, psycopg.Connection):
                entry.batch_defer(*arguments)
            else:
                await entry.batch_defer_async(*arguments)


@cache
def _plain_app() -> procrastinate.App:
    """Procrastinate for connections that are not async; it has none of its own."""
    return procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


async def psycopg_connection(
    connection: AsyncConnection,
) -> psycopg.Connection[Any] | psycopg.AsyncConnection[Any] | None:
    """The connection of psycopg; ``None`` for another driver, as an application may have it."""
    driver = (await connection.get_raw_connection()).driver_connection
    driver = getattr(driver, "owned", driver)
    known = isinstance(driver, psycopg.Connection | psycopg.AsyncConnection)
    return driver if known else None


def _bundles(run_ids: Sequence[int]) -> Iterator[JSONDict]:
    for start in range(0, len(run_ids), _IN_A_BUNDLE):
        yield {"run_ids": list(run_ids[start : start + _IN_A_BUNDLE])}


def _arguments(run_id: int) -> JSONDict:
    return {"run_id": run_id}


def _alike(
    runs: Sequence[Submission], now: datetime, aging: Mapping[str, int]
) -> dict[tuple[str, int, datetime | None], list[int]]:
    """Runs whose entries are written together. ``None`` is due at once, whatever the clocks of the node and the database say."""
    groups: dict[tuple[str, int, datetime | None], list[int]] = defaultdict(list)
    for run in runs:
        due_at = run.due_at if run.due_at > now else None
        ids = groups[run.queue, _points(run, aging.get(run.queue)), due_at]
        if not (run.asks and ids):
            ids.append(run.run_id)
    return groups


def _points(run: Submission, aging: int | None) -> int:
    if run.asks:
        return BEHIND_ALL
    return entry_priority(run.priority, run.due_at, aging, first=run.first)


@contextlib.contextmanager
def _as_sqlalchemy_has_it() -> Iterator[None]:
    """Let the caller, whose connection it is, see the error that its own statements raise."""
    try:
        yield
    except ConnectorException as error:
        cause = error.__cause__ or error
        raise OperationalError("procrastinate_defer_jobs", {}, cause) from error


# Taking entries: those of one queue at a time, as many as there are free slots, in the one transaction that claims their runs.

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
_AGED_ENTRIES = _first(
    f"queue_name = ANY (:queues) AND priority > {BEHIND_ALL} AND priority < {LEAST_PLAIN}"
)
STILL_AGED = sa.text(f"""
    WITH taken AS ({_without(f"SELECT entry FROM ({_AGED_ENTRIES}) AS first_ones")} RETURNING args)
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
