"""The engine for PostgreSQL: Procrastinate's queue with LISTEN/NOTIFY, on any number of nodes.

The engine uses Procrastinate's public API, with one exception, described below at the entries. ``tests/scheduler/engine`` runs
with the first and the last version of ``PROVEN``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import procrastinate
import psycopg
import sqlalchemy as sa
from procrastinate.exceptions import ConnectorException
from procrastinate.types import JSONDict
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...core.clock import Clock, together
from ...core.errors import NodeUnknown
from ...core.library_logs import only_warnings
from ...core.outage import OUTAGES, Outage
from ...core.pools import BEHIND_ALL, LEAST_PLAIN, Pool, Turns, entry_priority
from ...core.states import RunState
from ...db.dialects import known
from ...db.dialects.frequent import FrequentStatement, listed
from ...db.dialects.psycopg_driver import QuietConnection, driver_of
from ...db.tables import WAITS_IN_ORDER, job_run
from ...db.transactions import Fence, Store
from ..pauses import is_open
from ..runs.claim import Entries, Taken, lock_queue
from ..runs.create import CLAIMABLE, new_row, refused_by
from ..runs.values import ASKS, Claim, NewRun, Offer, OfferedRun, RunId
from .port import Submission, Worker

# Entries of Procrastinate's queue: defer an entry for each waiting run, and take entries in order of priority.
#
# **The one exception to Procrastinate's public API** is taking entries: the statements below delete rows of ``procrastinate_jobs``.
# Procrastinate's worker fetches one job at a time and reports the end of each job. So each run would cost two more round trips, and two more
# statements on the server, than its claim and its outcome, which this engine writes in batches. The figures are in ``docs/performance.md``.
# The statements use the columns of ``procrastinate_jobs`` that Procrastinate's own Django model publishes, and delete only entries of our
# tasks. A contract test checks the statements against the versions in ``PROVEN`` (``procrastinate.py``). Another benefit: no worker owns an
# entry, so a lost worker leaves no entry behind.

# Entries: jobs of Procrastinate; each entry announces one waiting run. Deferring and listening use Procrastinate's public API.
#
# A *bundle* is one entry for many runs, so that a call which creates thousands of runs does not write thousands of entries. A bundle has a
# place in the queue like any entry. The worker that reaches a bundle replaces it by entries of its runs. These entries go before all others
# of the bundle's priority, since the other runs came later. Nodes of a release without bundles leave bundles to other nodes.
#
# An entry is only a hint: taking an entry of a run that is over or no longer waits has no effect, and neither has a second entry. So a run
# that becomes due sooner gets another entry, and a cancelled run keeps its entry.

only_warnings("procrastinate")  # at INFO it writes a line for each entry

TASK = "targcc.run"
"""Task name of ordinary entries; the argument is a run's id."""

ELSEWHERE = "targcc.run.elsewhere"
"""Task name of entries for refused runs; a node that has refused the run does not take the entry."""

BUNDLE = "targcc.runs"
"""Task name of bundles; the argument is a list of runs' ids."""
_AT_LEAST = 5_000
"""Minimum number of runs for bundles, submitted together with the same queue, priority and due time. Opening a bundle writes the entries."""
_IN_A_BUNDLE = 200
"""Number of runs in a bundle. Opening a bundle writes that many entries and costs the server about 4 ms of CPU time."""

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
"""Write several entries at once. Calls the same database function as Procrastinate's ``batch_defer``, without 18 values for each entry."""


@cache
def _insert_with_entry(columns: tuple[str, ...]) -> FrequentStatement:
    """Return the statement that inserts a run with these columns and writes its entry: one round trip, one commit."""
    return FrequentStatement(
        sa.text(f"""
        WITH new AS (
            INSERT INTO c_JobRun ({", ".join(columns)}) VALUES (:{", :".join(columns)}) RETURNING Id, Queue
        ), entry AS (
            SELECT Id, procrastinate_defer_jobs_v1(ARRAY[
                ROW(Queue, '{TASK}'::varchar, CAST(:points AS integer), NULL, NULL,
                    jsonb_build_object('run_id', Id), CAST(:later AS timestamptz))::procrastinate_job_to_defer_v1
            ]) AS entries FROM new
        )
        SELECT Id AS id FROM entry WHERE entries IS NOT NULL
        """)  # noqa: S608 - columns of ours
        .bindparams(
            *(sa.bindparam(name, type_=job_run.c[name].type) for name in columns),
            sa.bindparam("later", type_=sa.DateTime(timezone=True)),
        )
        .columns(sa.column("id", sa.BigInteger))
    )


QUEUE_OUTAGES = (*OUTAGES, ConnectorException, psycopg.Error)
"""Errors that SQLAlchemy or Procrastinate raises while the database is unavailable."""


def make_app(url: sa.URL) -> procrastinate.App:
    """Build the Procrastinate app of a database. The app defers on the caller's connections; once opened, it listens on its own connections."""
    address = known.for_url(url).plain_address(url)
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
    """Write entries for runs, or bundles for many runs, in the transaction of ``connection``.

    With a driver other than psycopg, write no entries: a later poll finds the runs.

    Args:
        app: Procrastinate.
        connection: The transaction.
        runs: The runs.
        now: The present instant.
        task: The task of the entries: :data:`TASK` or :data:`ELSEWHERE`.
        aging: For queues with ageing, the waiting seconds that count as one priority point.

    Raises:
        sqlalchemy.exc.OperationalError: the database is unavailable.
    """
    driver = await psycopg_connection(connection)
    if driver is None:
        return
    if isinstance(driver, psycopg.Connection):  # the application's own, not async
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
    """Build the Procrastinate app for connections that are not async. The app has no connections of its own."""
    return procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


async def psycopg_connection(
    connection: AsyncConnection,
) -> psycopg.Connection[Any] | psycopg.AsyncConnection[Any] | None:
    """Return the psycopg connection; ``None`` if the application uses another driver."""
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
    """Group runs by queue, number and due time; each group is written together.

    The due time ``None`` means due at once, even if the clocks of the node and the database differ. Of the runs in a group that ask for
    their keys, only the first gets an entry.
    """
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
    """Raise Procrastinate's errors as the SQLAlchemy error that the caller's own statements raise."""
    try:
        yield
    except ConnectorException as error:
        cause = error.__cause__ or error
        raise OperationalError("procrastinate_defer_jobs", {}, cause) from error


# Take entries: from one queue at a time, as many as there are free slots, in the transaction that claims their runs.

log = logging.getLogger("targcc.engine.procrastinate")

_LISTENING_BEGINS_SECONDS = (0.1, 0.4, 1.0, 3.0)
"""Pauses between polls while the listening connection is being opened."""
_GATHER_SECONDS = 0.001
"""Delay after a run ends, so that workers freed together get their next runs in one claim."""


def _text(condition: sa.ColumnElement[bool]) -> str:
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
    return str(condition.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _is_open(queue: str) -> str:
    return _text(is_open(sa.literal_column(queue, sa.Text), sa.func.now()))


def _first(which: str) -> str:
    """Return a query that locks and returns the first entries, bundles included, that satisfy a condition."""
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
    """Return a statement that deletes entries."""
    return (
        f"DELETE FROM procrastinate_jobs WHERE id = ANY (ARRAY({entries}))"  # noqa: S608 - as above
    )


_MAY_BE_TAKEN = f"queue_name = :queue AND {_is_open(':queue')}"
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
    # Collapse white space: psycopg parses a statement of more than 4,096 characters again at each execution.
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
# Look up runs by id alone: the planner may expect the index of unfinished runs to be short.
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
"""Open the next bundle of a queue (``count`` is 1): replace the bundle by entries of its runs. Runs that are over or ``awaiting`` get no
entry. Calls the same database function as Procrastinate's ``batch_defer``."""
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
"""Take entries and bundles with the numbers of a queue with ageing. The caller writes new entries for their runs in the same transaction."""


class QueueWorker:
    """Take the entries of a queue, or of a pool's queues by turns, and have their runs performed.

    Args:
        worker: Claims and performs the runs.
        pool: The queues, and the maximum number of their concurrent runs.
        aging: For queues with ageing, the waiting seconds that count as one priority point.
        poll: Time to wait after an error.
        draining: Set when the worker must take no more entries.
        due_later: Set here after a notification about a run that is due later.
        open_bundle: Opens the next bundle of a queue.
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
        """The queues in which the last claim took all entries."""
        self._worker = worker
        self._slots = pool.workers
        self._turns = Turns(pool)
        self._waiting: set[str] = set()
        """The queues that may have entries, as of the last claim."""
        self._told: set[str] = set()
        """The queues with a notification since the last claim."""
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
        """Look for entries in each queue now."""
        self._told.update(self.queues)
        self._look.set()

    async def listen(self, app: procrastinate.App) -> None:
        """Look for entries at each notification, until drained. While the database is unavailable, keep trying."""

        async def notified(*, channel: str, notification: object) -> None:
            del notification
            queue = channel.rpartition("#")[2]
            self._notified = True
            self._told.update((queue,) if queue in self.queues else self.queues)
            self._look.set()

        while not self._draining.is_set():  # an error may replace a cancellation
            looking = asyncio.create_task(self._look_until_it_listens())
            try:
                with contextlib.suppress(*QUEUE_OUTAGES):  # the heartbeat logs the outage
                    await app.job_manager.listen_for_jobs(
                        on_notification=notified, queues=list(self.queues)
                    )
            finally:
                looking.cancel()
            await pause(self._draining, self._poll)

    async def _look_until_it_listens(self) -> None:
        """Look for entries a few times while the listening connection opens.

        Procrastinate does not report when listening begins, and earlier entries cause no notification.
        """
        for seconds in _LISTENING_BEGINS_SECONDS:
            await asyncio.sleep(seconds)
            self.look()

    async def work(self) -> None:
        """Take entries and begin their runs until drained; return when these runs are settled."""
        while not self._draining.is_set():
            self._look.clear()
            if not await self._claim():
                await self._look.wait()
                if self._running:  # other runs may end at the same time
                    await asyncio.sleep(_GATHER_SECONDS)
        while self._running:
            await asyncio.wait(self._running)

    async def _claim(self) -> bool:
        """Take as many entries as there are free slots and begin their runs; return whether to claim again at once."""
        free = self._slots - len(self._running)
        if free <= 0 or self._worker.holds:
            if self._worker.holds:
                self.found_all.clear()
            return False
        self._waiting |= self._told
        self._told.clear()
        if not self._waiting:  # an ended run may have freed capacity for other runs
            self._waiting.update(self.queues)
        try:
            begun = await self._turns.fill(free, self._waiting, self._take)
        except QUEUE_OUTAGES as error:
            self.look()
            await pause(self._draining, self._outage.failed(error))
            return True
        except NodeUnknown:  # the next heartbeat registers the node again
            self.look()
            await pause(self._draining, self._poll)
            return True
        self._outage.over()
        if not begun and self._notified:  # a run is due later, or asks for its keys
            self._due_later.set()
        self._notified = False
        return bool(self._waiting)

    async def _take(self, queue: str, count: int) -> tuple[int, bool]:
        """Take up to ``count`` entries of a queue and begin their runs.

        Returns:
            How many runs began, and whether there may be more entries.
        """
        if self._draining.is_set():
            return 0, False
        parameters = {
            "queue": queue,
            "refused": refused_by(self._worker.fingerprint),
            "count": count,
        }
        taken = await self._worker.claim_at_once(ENTRIES, queue, parameters)
        if taken is None:
            taken = await self._claim_one_by_one(parameters)
        for claim in taken.claims:
            self._begin(claim)
        if taken.bundle:
            await self._open_bundle(queue)
        more = taken.count >= count or taken.rest or taken.bundle
        (self.found_all.discard if more else self.found_all.add)(queue)
        return len(taken.claims), more

    async def _claim_one_by_one(self, options: Mapping[str, Any]) -> Taken:
        """Take entries in a transaction that checks each of their runs."""
        rows: Sequence[Any] = ()

        async def offer(connection: AsyncConnection) -> Offer:
            nonlocal rows
            rows = (await connection.execute(_TAKE, options)).all()
            return Offer(runs=_offered(rows, options["queue"]), aging=self._aging)

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
    """Return the runs of entries, each run once, without deleted runs."""
    runs = {row.run_id: row for row in rows if row.job_name is not None}
    return [OfferedRun(id_, row.job_name, row.arguments_json, queue) for id_, row in runs.items()]


async def pause(event: asyncio.Event, longest: timedelta) -> None:
    """Wait for an event, at most for the time ``longest``."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), longest.total_seconds())


# The engine for PostgreSQL: Procrastinate's queue with LISTEN/NOTIFY, on any number of nodes.

# Supported versions of Procrastinate.

PROVEN = ("3.8", "3.11")
"""Supported versions of Procrastinate: the first version and later, below the last version."""


# The engine for PostgreSQL: Procrastinate's queue, with LISTEN/NOTIFY, on any number of machines.
#
# One job of Procrastinate, an *entry*, announces that a run waits. An entry is deferred on the caller's connection and commits with the
# run's row. The engine takes entries and claims their runs in one transaction. Procrastinate's retries, schedules and
# history are not used: the run's row is the source of truth.


_LOST_ENTRY_SECONDS = 5
"""Seconds overdue after which a run is offered again, in a queue whose workers find no entry."""
_SWEEP_SIZE = 200
"""Maximum number of runs that a sweep offers again for one job."""
_LISTENING_ENDS_SECONDS, _CANCELLED_AGAIN_SECONDS = 5.0, 0.2
"""Time limit for closing the listening connections, after which the node stops anyway; interval between repeated cancellations."""
_BEHIND, _SHORTEST_LOOK = 1.0, 0.02

_IS_DUE = f"DueAt <= now() AND (LimitKey IS NULL OR substr(LimitKey, 1, 1) <> '{ASKS}')"
_WAITS = f"""(
    State = '{RunState.ENQUEUED}'
    OR (State IN ('{RunState.SCHEDULED}', '{RunState.RETRYING}') AND {_IS_DUE})
)"""
_NOT_REFUSED = "(RefusedBy IS NULL OR RefusedBy NOT LIKE :refused)"


@dataclass(frozen=True, eq=False)
class _Next:
    """The statements that select the runs to offer next."""

    of_job: FrequentStatement
    of_queue: FrequentStatement
    overdue: FrequentStatement
    of_ids: FrequentStatement


def _claimable() -> str:
    """Return the claim conditions of the installed features as text for ``sa.text``."""
    return _text(CLAIMABLE).replace(":", r"\:")  # a colon begins no parameter


@cache
def _next(order: str) -> _Next:
    what = "SELECT Id, Queue, Priority, DueAt, RefusedBy IS NOT NULL AS refused"
    may_run = f"{_claimable()} AND {_NOT_REFUSED}"
    waits = f"{_WAITS} AND {may_run}"
    first = f"ORDER BY {order} LIMIT :count"
    states = RunState.ENQUEUED, RunState.SCHEDULED, RunState.RETRYING
    values = ", ".join(f"('{state}')" for state in states)

    def first_of(where: str) -> str:
        """Return the query for the first runs that wait, by an index with the runs of each state in their order."""
        return f"""
            {what} FROM (VALUES {values}) AS state (name)
            CROSS JOIN LATERAL (
                SELECT * FROM c_JobRun
                WHERE State = state.name AND {where}
                AND (state.name = '{RunState.ENQUEUED}' OR ({_IS_DUE})) AND {may_run}
                {first}
            ) AS run
            {first}
            """  # noqa: S608 - constants of this module

    overdue = f"""
        {what} FROM (
            SELECT *, row_number() OVER (PARTITION BY JobName ORDER BY {order}) AS place
            FROM c_JobRun
            WHERE {waits} AND DueAt < now() - make_interval(secs => {_LOST_ENTRY_SECONDS})
            AND Queue = ANY (:queues) AND {_is_open("c_JobRun.Queue")}
        ) AS run
        WHERE place <= {_SWEEP_SIZE}
        ORDER BY Id
        """  # noqa: S608 - constants of this module
    of_ids = f"{what} FROM c_JobRun WHERE Id = ANY (:ids) AND {waits} ORDER BY Id"
    found: list[sa.ColumnClause[Any]] = [
        sa.column(name) for name in ("id", "queue", "priority", "dueat", "refused")
    ]
    of_job, of_queue = f"JobName = :job_name AND {_text(WAITS_IN_ORDER)}", "Queue = :queue"
    queries = first_of(of_job), first_of(of_queue), overdue, of_ids
    return _Next(*(FrequentStatement(sa.text(query).columns(*found)) for query in queries))


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

    fence: Fence | None = None

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

    async def create(self, store: Store, run: NewRun) -> RunId:
        """Insert a run and write its entry in one statement."""
        async with store.write_at_once() as connection:
            return await self._insert_with_entry(connection, run)

    async def create_here(self, store: Store, run: NewRun) -> RunId | None:
        """Insert a run and write its entry in one statement, on a connection of the calling loop."""
        rows = await store.execute_here(*self._with_entry(run))
        return None if rows is None else RunId(rows[0].id)

    async def create_within(self, connection: AsyncConnection, run: NewRun) -> RunId | None:
        """Insert a run and write its entry in one statement of the application's transaction, if its driver is psycopg."""
        plain = connection.sync_connection
        if plain is None or plain.invalidated:
            await connection.get_raw_connection()  # reconnects, or raises the reason
        if not isinstance(driver_of(connection), psycopg.Connection | psycopg.AsyncConnection):
            return None  # another driver, or a connection that SQLAlchemy did not open
        return await self._insert_with_entry(connection, run)

    async def _insert_with_entry(self, connection: AsyncConnection, run: NewRun) -> RunId:
        statement, parameters = self._with_entry(run)
        (new,) = await statement.all(connection, parameters)
        return RunId(new.id)

    def _with_entry(self, run: NewRun) -> tuple[FrequentStatement, Mapping[str, Any]]:
        """Return the statement that inserts a run with its entry, and the parameters."""
        now = self._clock.now()
        submission = Submission(0, run.queue, run.priority, run.due_at)
        row = new_row(run, now)
        ((_, points, later),) = _alike([submission], now, self._aging)
        return _insert_with_entry(tuple(row)), row | {"points": points, "later": later}

    def create_at_once(self, store: Store, run: NewRun) -> None:
        """Return ``None``: a server needs waiting."""
        del store, run

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
        parameters = {"queues": plain, "refused": refused, "count": _SWEEP_SIZE}
        count = _SWEEP_SIZE if plain else 0
        while count >= _SWEEP_SIZE:
            async with self._engine.begin() as connection:
                ids = [row.run_id for row in await connection.execute(STILL_AGED, parameters)]
                if ids:
                    await self._offer(connection, self._next.of_ids, {"ids": ids})
            count = len(ids)

    async def _open_bundle(self, queue: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(OPEN, {"queue": queue, "refused": None, "count": 1})

    async def _offer(
        self, connection: AsyncConnection, query: FrequentStatement, options: Mapping[str, object]
    ) -> None:
        """Write entries for the due runs that a query returns."""
        now = self._clock.now()
        refused = refused_by(self._fingerprint()) or "%"  # no worker here: leave out refused runs
        options = {**options, "refused": refused}
        if self._aging:
            options["aging"] = json.dumps(self._aging)
        rows = await query.all(connection, options)
        runs = {False: self.submit, True: self.refer}
        for is_refused, submit in runs.items():
            group = [row for row in rows if row.refused == is_refused]
            if group:
                await submit(connection, [_due(row, now) for row in group])

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
            poll = worker.spread(self._poll.total_seconds())
            waiting, due = await self._waiting(worker, names, timedelta(seconds=poll))
            if waiting:
                for queue in self._queues:
                    queue.look()
            await pause(self._due_later, self._until(poll, due))

    async def _waiting(
        self, worker: Worker, queues: list[str], within: timedelta
    ) -> tuple[bool, datetime | None]:
        """Return whether runs wait for a worker, and the next due instant within a period. Stage runs that are due."""
        try:
            waiting, due = await worker.due(queues, within)
            if due is not None and due <= self._clock.now():
                await worker.stage()  # for runs that are blocked, or ask for their keys
        except QUEUE_OUTAGES:  # the claims log the outage
            return False, None
        return waiting, due

    def _until(self, poll: float, due: datetime | None) -> timedelta:
        """Return the time until the next poll: ``poll`` seconds, or less if a run is due before."""
        left = poll if due is None else (due - self._clock.now()).total_seconds()
        if left < -_BEHIND:  # overdue: the run is blocked
            return self._poll
        if left < poll:
            return timedelta(seconds=max(left, _SHORTEST_LOOK))
        return timedelta(seconds=together(poll))


def _due(row: Any, now: datetime) -> Submission:
    """Build the submission of a run that may start at once, even if clocks differ. An earlier due time stays, and with it the run's age."""
    return Submission(row.id, row.queue, row.priority, min(row.dueat, now))
