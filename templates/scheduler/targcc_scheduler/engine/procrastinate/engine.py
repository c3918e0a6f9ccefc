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
from collections.abc import Mapping, Sequence
from datetime import timedelta

import procrastinate
import sqlalchemy as sa
from procrastinate.worker import Worker as QueueWorker
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...core.clock import Clock
from ...core.outage import Outage
from ...core.states import RunState
from ...storage.dialects import known
from ..port import Submission, Worker
from .entries import NOT_PAUSED, QUEUE_OUTAGES, TASK, Entries, pause

log = logging.getLogger("targcc.engine.procrastinate.engine")

_LOST_ENTRY_SECONDS = 5
"""A run that is due for so long and has no entry is offered again."""
_SWEEP_SIZE = 200
"""How many runs of one job a sweep offers again."""
_FALLBACK_POLL_SECONDS = 10.0
"""How often Procrastinate's workers look by themselves; long before, they are told (see :meth:`_Entries.watch`)."""

# "NULL" is due at once, whatever the clocks of the node and the database say.
_ENTER = """
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, queueing_lock, args, scheduled_at)
{source}
ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE
SET scheduled_at = EXCLUDED.scheduled_at, priority = EXCLUDED.priority, queue_name = EXCLUDED.queue_name
"""
_ARGS = "jsonb_build_object('run_id', run.Id, 'job', run.JobName)"

_SUBMIT = sa.text(_ENTER.format(source=f"""
        SELECT submitted.queue, '{TASK}', submitted.priority, 'run-' || run.Id, {_ARGS}, due
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
        SELECT Queue, '{TASK}', Priority, 'run-' || Id, {_ARGS}, NULL
        FROM c_JobRun AS run
        WHERE State = '{RunState.ENQUEUED}' AND JobName = :job_name AND {_NO_ENTRY}
        ORDER BY Priority DESC, DueAt, Id
        LIMIT 1
        """))  # noqa: S608 - constants of this module

_SWEEP = sa.text(_ENTER.format(source=f"""
        SELECT Queue, '{TASK}', Priority, 'run-' || Id, {_ARGS}, NULL
        FROM (
            SELECT *, row_number() OVER (PARTITION BY JobName ORDER BY Priority DESC, DueAt, Id) AS place
            FROM c_JobRun AS run
            WHERE State IN ('{RunState.SCHEDULED}', '{RunState.ENQUEUED}', '{RunState.RETRYING}')
            AND DueAt < now() - make_interval(secs => {_LOST_ENTRY_SECONDS})
            AND {_NO_ENTRY}
            AND {NOT_PAUSED.format(queue="run.Queue")}
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
        self._entries: Entries | None = None

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
            await known.of(connection).lock_job(connection, job_name)
            await connection.execute(_RELEASE_ONE, {"job_name": job_name})
        if queue is not None:
            await connection.execute(_NOTIFY, {"queue": queue})

    def wake(self) -> None:
        """Nothing to do: PostgreSQL notifies the workers of the commit."""

    async def work(self, worker: Worker, queues: Mapping[str, int]) -> None:
        """One Procrastinate worker a queue; returns when all they have begun is settled."""
        self._draining.clear()
        slots = {queue: count for queue, count in queues.items() if count > 0}
        entries = self._entries = Entries(worker, slots, self._clock, self._poll, self._draining)
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

    async def _run_workers(self, entries: Entries, slots: Mapping[str, int]) -> None:
        """Run the workers until drained; they end by themselves only when the database is away just as they start."""
        outage = Outage(log, "starting to work")
        while not self._draining.is_set():
            try:
                async with self._engine.connect():
                    outage.over()  # or it says at once that it is away: the pool below would wait
                async with self._open(entries) as app, asyncio.TaskGroup() as group:
                    for queue, count in slots.items():
                        group.create_task(self._run_worker(app, queue, count))
            except* QUEUE_OUTAGES as errors:
                await pause(self._draining, outage.failed(_first(errors)))

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

    def _open(self, entries: Entries) -> contextlib.AbstractAsyncContextManager[procrastinate.App]:
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


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the errors: what the database said itself, if Procrastinate wrapped it."""
    first = errors.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _first(first)
    return first.__cause__ or first


async def _stop_when(draining: asyncio.Event, worker: QueueWorker) -> None:
    await draining.wait()
    worker.stop()  # type: ignore[no-untyped-call]  # the same
