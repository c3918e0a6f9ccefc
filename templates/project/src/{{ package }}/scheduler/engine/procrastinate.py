# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The engine for PostgreSQL: Procrastinate, with LISTEN/NOTIFY, on any number of machines.

One Procrastinate job, an *entry*, stands for one waiting run; its queueing lock ``run-<id>`` lets a run have no more than one, so
offering a run again is an upsert. Entries are written with our own SQL on the caller's connection, because they commit with the
run's row and because Procrastinate's own ``defer`` fails, and with it the transaction, when the entry is there already.

Procrastinate's workers listen, poll and keep to their number of slots. What they fetch is up to :class:`_Entries`, their job manager:
it takes as many entries as there are free slots, in the one transaction that claims their runs. So an entry is never in anybody's hands, a
dead worker leaves none behind, and a run costs a third of the round trips. Procrastinate's retries, schedules and history are not used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import metadata, resources

import procrastinate
import psycopg
import sqlalchemy as sa
from procrastinate import jobs
from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager, NotificationCallback
from procrastinate.types import JSONDict
from procrastinate.worker import Worker as QueueWorker
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..clock import Clock
from ..outages import OUTAGES, Outage
from ..states import RunState
from ..store.runs import Claim, NodeUnknown, Offer, serialise
from .port import Submission, Worker

log = logging.getLogger(__name__)

_TASK = "targcc.run"
_LOST_ENTRY_SECONDS = 5
"""A run that is due for so long and has no entry is offered again."""
_SWEEP_SIZE = 200
"""How many runs of one job a sweep offers again."""
_FALLBACK_POLL_SECONDS = 10.0
"""How often Procrastinate's workers look by themselves; long before, they are told (see :meth:`_Entries.watch`)."""
_BEHIND, _SHORTEST_LOOK = timedelta(seconds=1), timedelta(seconds=0.02)
_COMMENT = "procrastinate "
"""How the comment of Procrastinate's main table begins; its version follows."""

_OUTAGES = (*OUTAGES, ConnectorException, psycopg.Error)

# "NULL" is due at once, whatever the clocks of the node and the database say.
_ENTER = """
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, queueing_lock, args, scheduled_at)
{source}
ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE
SET scheduled_at = EXCLUDED.scheduled_at, priority = EXCLUDED.priority, queue_name = EXCLUDED.queue_name
"""
_ARGS = "jsonb_build_object('run_id', run.Id, 'job', run.JobName)"

_SUBMIT = sa.text(_ENTER.format(source=f"""
        SELECT submitted.queue, '{_TASK}', submitted.priority, 'run-' || run.Id, {_ARGS}, due
        FROM unnest(:runs, :queues, :priorities, :dues) AS submitted (id, queue, priority, due)
        JOIN c_JobRun AS run ON run.Id = submitted.id
        ORDER BY run.Id
        """)).bindparams(  # noqa: S608 - constants of this module
    sa.bindparam("runs", type_=ARRAY(sa.BigInteger)),
    sa.bindparam("queues", type_=ARRAY(sa.Text)),
    sa.bindparam("priorities", type_=ARRAY(sa.Integer)),
    sa.bindparam("dues", type_=ARRAY(TIMESTAMP(timezone=True))),
)

_NO_ENTRY = """NOT EXISTS (
    SELECT 1 FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = 'run-' || run.Id
)"""

_RELEASE_ONE = sa.text(_ENTER.format(source=f"""
        SELECT Queue, '{_TASK}', Priority, 'run-' || Id, {_ARGS}, NULL
        FROM c_JobRun AS run
        WHERE State = '{RunState.ENQUEUED}' AND JobName = :job_name AND {_NO_ENTRY}
        ORDER BY Priority DESC, DueAt, Id
        LIMIT 1
        """))  # noqa: S608 - constants of this module

_NOT_PAUSED = """NOT EXISTS (
    SELECT 1 FROM c_JobQueue
    WHERE Name = {queue} AND PausedAt IS NOT NULL AND (PausedUntil IS NULL OR PausedUntil > now())
)"""

_TAKE = sa.text(f"""
    DELETE FROM procrastinate_jobs
    WHERE id = ANY (ARRAY(
        SELECT id FROM procrastinate_jobs
        WHERE status = 'todo' AND queue_name = :queue AND task_name = '{_TASK}'
        AND (scheduled_at IS NULL OR scheduled_at <= now())
        AND {_NOT_PAUSED.format(queue=":queue")}
        ORDER BY priority DESC, id
        LIMIT :count
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING priority, id, (args ->> 'run_id')::bigint AS run_id, args ->> 'job' AS job_name
    """).bindparams(sa.bindparam("queue", type_=sa.Text))  # noqa: S608 - constants of this module

_SWEEP = sa.text(_ENTER.format(source=f"""
        SELECT Queue, '{_TASK}', Priority, 'run-' || Id, {_ARGS}, NULL
        FROM (
            SELECT *, row_number() OVER (PARTITION BY JobName ORDER BY Priority DESC, DueAt, Id) AS place
            FROM c_JobRun AS run
            WHERE State IN ('{RunState.SCHEDULED}', '{RunState.ENQUEUED}', '{RunState.RETRYING}')
            AND DueAt < now() - make_interval(secs => {_LOST_ENTRY_SECONDS})
            AND {_NO_ENTRY}
            AND {_NOT_PAUSED.format(queue="run.Queue")}
        ) AS run
        WHERE place <= {_SWEEP_SIZE}
        ORDER BY Id
        """))  # noqa: S608 - constants of this module

_WITHDRAW = sa.text(
    "DELETE FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = ANY(:locks)"
).bindparams(sa.bindparam("locks", type_=ARRAY(sa.Text)))

_NOTIFY = sa.text(
    'SELECT pg_notify(\'procrastinate_queue_v1#\' || :queue, \'{"type": "job_inserted", "job_id": 0}\')'
).bindparams(sa.bindparam("queue", type_=sa.Text))


class ProcrastinateEngine:
    """Offers runs by Procrastinate's workers.

    Args:
        engine: The scheduler's database.
        clock: Tells which run is due already, and how long until the next is.
        poll: How often to look for runs that wait, whatever was notified.
    """

    def __init__(self, engine: AsyncEngine, clock: Clock, *, poll: timedelta) -> None:
        self._engine = engine
        self._clock = clock
        self._poll = poll
        self._draining = asyncio.Event()
        self._entries: _Entries | None = None

    async def open(self) -> None:
        """Nothing to open: entries are written on the caller's connection."""

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Write an entry for each run, or move the one it has."""
        if not runs:
            return
        now = self._clock.now()
        await connection.execute(
            _SUBMIT,
            {
                "runs": [run.run_id for run in runs],
                "queues": [run.queue for run in runs],
                "priorities": [run.priority for run in runs],
                "dues": [run.due_at if run.due_at > now else None for run in runs],
            },
        )

    async def withdraw(self, connection: AsyncConnection, run_ids: Sequence[int]) -> None:
        """Delete the entries of the runs."""
        if run_ids:
            await connection.execute(_WITHDRAW, {"locks": [f"run-{run_id}" for run_id in run_ids]})

    async def release(
        self,
        connection: AsyncConnection,
        *,
        job_name: str | None = None,
        queue: str | None = None,
    ) -> None:
        """Write an entry for the next enqueued run of a job that has none; tell the workers of a queue, whose entries are all there.

        The lock that a claim holds while it decides about a job's limit is taken first: a claim that does not see this
        transaction's change yet would drop its entry just after we have looked for runs without one.
        """
        if job_name is not None:
            await serialise(connection, job_name)
            await connection.execute(_RELEASE_ONE, {"job_name": job_name})
        if queue is not None:
            await connection.execute(_NOTIFY, {"queue": queue})

    def wake(self) -> None:
        """Nothing to do: PostgreSQL notifies the workers of the commit."""

    async def work(self, worker: Worker, queues: Mapping[str, int]) -> None:
        """One Procrastinate worker a queue; returns when all they have begun is settled."""
        self._draining.clear()
        slots = {queue: count for queue, count in queues.items() if count > 0}
        entries = self._entries = _Entries(worker, slots, self._clock, self._poll, self._draining)
        async with asyncio.TaskGroup() as group:
            group.create_task(entries.watch())
            group.create_task(self._run_workers(entries, slots))
        await entries.settled()

    def drain(self) -> None:
        """Fetch nothing more."""
        self._draining.set()
        if self._entries is not None:
            self._entries.look()

    async def rescue(self, lost: Sequence[Submission]) -> None:
        """Offer runs again that are due and have no entry; one node at a time does so."""
        del lost  # their entries were written in the transaction that enqueued them
        async with self._engine.begin() as connection:
            alone = await connection.scalar(
                sa.select(sa.func.pg_try_advisory_xact_lock(sa.func.hashtext("targcc/sweep")))
            )
            if alone:
                await connection.execute(_SWEEP)

    async def close(self) -> None:
        """Nothing to give back: the workers' connections are closed when they end."""

    async def _run_workers(self, entries: _Entries, slots: Mapping[str, int]) -> None:
        """Run the workers until drained; they end by themselves only when the database is away just as they start."""
        outage = Outage(log, "starting to work")
        while not self._draining.is_set():
            try:
                async with self._engine.connect():
                    outage.over()  # or it says at once that it is away: the pool below would wait
                async with self._open(entries) as app, asyncio.TaskGroup() as group:
                    for queue, count in slots.items():
                        group.create_task(self._run_worker(app, queue, count))
            except* _OUTAGES as errors:
                await _pause(self._draining, outage.failed(_first(errors)))

    async def _run_worker(self, app: procrastinate.App, queue: str, count: int) -> None:
        worker = QueueWorker(
            app=app,
            queues=[queue],
            name=queue,
            concurrency=count,
            fetch_job_polling_interval=_FALLBACK_POLL_SECONDS,
            abort_job_polling_interval=3600,  # runs are cancelled by our own table
            shutdown_graceful_timeout=0,  # what is running is waited for in work()
            install_signal_handlers=False,
        )
        stopper = asyncio.create_task(_stop_when(self._draining, worker))
        try:
            await worker.run()  # type: ignore[no-untyped-call]  # Procrastinate leaves it untyped
        finally:
            stopper.cancel()

    def _open(self, entries: _Entries) -> contextlib.AbstractAsyncContextManager[procrastinate.App]:
        """The app of the workers, with a connection of its own for what little they ask themselves."""
        url = self._engine.url.set(drivername="postgresql")
        connector = procrastinate.PsycopgConnector(
            conninfo=url.render_as_string(hide_password=False),
            kwargs={"application_name": "targcc"},
            min_size=1,
            max_size=1,
            timeout=5,
        )
        app = procrastinate.App(connector=connector)
        entries.serve(app)
        return app.open_async()


class _Entries(JobManager):
    """What Procrastinate's workers fetch from, and tell about what they have done.

    Args:
        worker: Claims and performs.
        slots: How many runs at a time from each queue.
        clock: Tells how long until the next run is due.
        poll: How often to look for runs that wait.
        draining: Set when nothing more is to be taken.
    """

    def __init__(
        self,
        worker: Worker,
        slots: Mapping[str, int],
        clock: Clock,
        poll: timedelta,
        draining: asyncio.Event,
    ) -> None:
        self._worker = worker
        self._clock = clock
        self._poll = poll
        self._draining = draining
        self._lines = {queue: _Line(slots=count) for queue, count in slots.items()}
        self._look = asyncio.Event()
        self._outage = Outage(log, "claiming runs")

    def serve(self, app: procrastinate.App) -> None:
        """Become the job manager of an app, whose only task waits for a run that has begun."""
        super().__init__(app.connector)
        app.job_manager = self

        @app.task(name=_TASK)
        async def run(queue: str, run_id: int, attempt: int) -> None:
            task = self._lines[queue].running.get((run_id, attempt))
            if task is not None:
                await asyncio.wait((task,))

    async def settled(self) -> None:
        """Wait until all that was begun is settled."""
        while tasks := [task for line in self._lines.values() for task in line.running.values()]:
            await asyncio.wait(tasks)

    def look(self) -> None:
        """Look for runs that wait, and when the next is due, now."""
        self._look.set()

    async def watch(self) -> None:
        """Tell the workers of runs that became due, or whose notification was lost, until drained."""
        while not self._draining.is_set():
            self._look.clear()
            try:
                waiting, due = await self._worker.due(self._lines)
            except _OUTAGES:  # the claims say so
                waiting, due = False, None
            if waiting:
                for line in self._lines.values():
                    await line.tell()
            await _pause(self._look, self._until(due))

    # What Procrastinate's workers call.

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        """The next run that has begun; more are claimed if there is none."""
        del worker_id
        (queue,) = queues or ()
        line = self._lines[queue]
        while not line.begun:
            notices = line.notices
            if not await self._claim(queue, line) and line.notices == notices:
                return None
        return line.begun.popleft()

    async def finish_job(
        self,
        job: jobs.Job,
        status: jobs.Status,
        delete_job: bool,  # noqa: FBT001 - Procrastinate calls it so
    ) -> None:
        """Nothing to write: the entry went when its run was claimed."""

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """Listen; while the database is away, keep trying: the workers would not notice that nobody listens any more."""
        (queue,) = queues or ()
        line = self._lines[queue]
        line.on_notification = on_notification

        async def told(*, channel: str, notification: jobs.Notification) -> None:
            del channel, notification
            line.news = True
            await line.tell()

        while True:
            with contextlib.suppress(*_OUTAGES):  # the heartbeat says so
                await super().listen_for_jobs(on_notification=told, queues=[queue])
            await asyncio.sleep(self._poll.total_seconds())

    async def update_heartbeat(self, worker_id: int) -> None:
        """Procrastinate's own; nodes have another (see ``node.py``), so it does not matter when it fails."""
        with contextlib.suppress(*_OUTAGES):
            await super().update_heartbeat(worker_id)

    async def _claim(self, queue: str, line: _Line) -> bool:
        """Take as many entries as there are free slots and claim their runs, which begin; whether there were entries."""
        free = line.slots - len(line.running)
        if free <= 0 or self._draining.is_set():
            return False
        offers: list[Offer] = []

        async def offer(connection: AsyncConnection) -> Sequence[Offer]:
            rows = (await connection.execute(_TAKE, {"queue": queue, "count": free})).all()
            rows = sorted(rows, key=lambda row: (-row.priority, row.id))
            offers.extend(Offer(row.run_id, row.job_name) for row in rows)
            return offers

        try:
            claims = await self._worker.claim_offered(offer)
        except _OUTAGES as error:
            await _pause(self._draining, self._outage.failed(error))
            return False
        except NodeUnknown:  # the next heartbeat finds out, and registers again
            await _pause(self._draining, self._poll)
            return False
        self._outage.over()
        for claim in claims:
            self._begin(line, claim)
        if not offers and line.news:  # it was about one that is due later
            self.look()
        line.news = False
        return bool(offers)

    def _begin(self, line: _Line, claim: Claim) -> None:
        key = (claim.run_id, claim.attempt)
        task = asyncio.create_task(self._worker.perform(claim), name=f"run {claim.run_id}")
        line.running[key] = task
        task.add_done_callback(lambda done: _ended(done, line, key))
        arguments: JSONDict = {
            "queue": claim.queue,
            "run_id": claim.run_id,
            "attempt": claim.attempt,
        }
        line.begun.append(
            jobs.Job(
                id=claim.run_id,
                queue=claim.queue,
                lock=None,
                queueing_lock=None,
                task_name=_TASK,
                task_kwargs=arguments,
            )
        )

    def _until(self, due: datetime | None) -> timedelta:
        """How long until the next look."""
        left = self._poll if due is None else due - self._clock.now()
        if left < -_BEHIND:  # something holds it up
            return self._poll
        return min(self._poll, max(left, _SHORTEST_LOOK))


@dataclass
class _Line:
    """A queue on this node."""

    slots: int
    running: dict[tuple[int, int], asyncio.Task[None]] = field(default_factory=dict)
    """What has begun, by run and attempt."""
    begun: deque[jobs.Job] = field(default_factory=deque)
    """The same, until the worker has heard of it."""
    on_notification: NotificationCallback | None = None
    notices: int = 0
    """How many notifications there were: one that comes while entries are being taken must not be forgotten."""
    news: bool = False
    """Whether there was one since entries were taken."""

    async def tell(self) -> None:
        """Let the worker look for entries."""
        self.notices += 1
        if self.on_notification is not None:
            news = jobs.JobInserted(type="job_inserted", job_id=0)
            await self.on_notification(channel="", notification=news)


def _ended(task: asyncio.Task[None], line: _Line, key: tuple[int, int]) -> None:
    line.running.pop(key, None)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("run %d ended with a fault of the scheduler", key[0], exc_info=error)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the errors: what the database said itself, if Procrastinate wrapped it."""
    first = errors.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _first(first)
    return first.__cause__ or first


async def _stop_when(draining: asyncio.Event, worker: QueueWorker) -> None:
    await draining.wait()
    worker.stop()  # type: ignore[no-untyped-call]  # the same


async def _pause(event: asyncio.Event, longest: timedelta) -> None:
    """Wait for an event, but not too long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), longest.total_seconds())


def is_current(connection: sa.Connection) -> bool:
    """Whether Procrastinate's tables are there, in the version of the library that is installed."""
    return _table_version(connection) == metadata.version("procrastinate")


def install(connection: sa.Connection) -> None:
    """Create Procrastinate's tables, or bring them to the version of the library that is installed.

    Procrastinate keeps no version in the database, so it is kept as the comment of its main table; its migrations are files
    named by version. Part of the transaction of ``connection``, which holds the migration lock.
    """
    installed = metadata.version("procrastinate")
    since = _table_version(connection)
    if since is None:
        _run_script(connection, "schema.sql")
    else:
        folder = resources.files("procrastinate.sql") / "migrations"
        for name in sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql")):
            if _parts(since) < _parts(name.partition("_")[0]) <= _parts(installed):
                _run_script(connection, f"migrations/{name}")
    comment = sa.text(f"COMMENT ON TABLE procrastinate_jobs IS '{_COMMENT}{installed}'")
    connection.execute(comment)


def _table_version(connection: sa.Connection) -> str | None:
    """The version of the tables; those that somebody else created count as the library's. ``None``: there are none."""
    inspector = sa.inspect(connection)
    if not inspector.has_table("procrastinate_jobs"):
        return None
    comment = inspector.get_table_comment("procrastinate_jobs")["text"] or ""
    return comment.removeprefix(_COMMENT) or metadata.version("procrastinate")


def _run_script(connection: sa.Connection, name: str) -> None:
    script = (resources.files("procrastinate.sql") / name).read_text(encoding="utf-8")
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(
        script
    )  # several statements: psycopg sends them as they are when there are no parameters


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
