# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The engine for PostgreSQL: Procrastinate, with LISTEN/NOTIFY, on any number of machines.

One Procrastinate job, an *entry*, stands for one waiting run; its queueing lock ``run-<id>`` lets a run have no more than one, so
offering a run again is an upsert. Entries are written with our own SQL on the caller's connection, because they commit with the
run's row and because Procrastinate's own ``defer`` fails, and with it the transaction, when the entry is there already. Its
retries, schedules and history are not used; an entry is deleted when its run was offered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib import metadata, resources

import procrastinate
import sqlalchemy as sa
from procrastinate import jobs
from procrastinate.exceptions import ConnectorException
from procrastinate.worker import Worker as QueueWorker
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..outages import OUTAGES, Outage
from ..states import RunState
from ..store.runs import Claim, serialise
from .port import Submission, Worker

log = logging.getLogger(__name__)

_TASK = "targcc.run"
_LOST_ENTRY_SECONDS = 5
"""A run that is due for so long and has no entry is offered again."""
_SWEEP_SIZE = 200
"""How many runs of one job a sweep offers again."""

_COMMENT = "procrastinate "
"""How the comment of Procrastinate's main table begins; its version follows."""

_OUTAGES = (*OUTAGES, ConnectorException)

_ENTER = """
INSERT INTO procrastinate_jobs (queue_name, task_name, priority, queueing_lock, args, scheduled_at)
{source}
ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE
SET scheduled_at = EXCLUDED.scheduled_at, priority = EXCLUDED.priority, queue_name = EXCLUDED.queue_name
"""

_SUBMIT = sa.text(_ENTER.format(source=f"""
        SELECT queue, '{_TASK}', priority, 'run-' || run, jsonb_build_object('run_id', run), due
        FROM unnest(:runs, :queues, :priorities, :dues) AS submitted (run, queue, priority, due)
        ORDER BY run
        """)).bindparams(  # noqa: S608 - constants of this module
    sa.bindparam("runs", type_=ARRAY(sa.BigInteger)),
    sa.bindparam("queues", type_=ARRAY(sa.Text)),
    sa.bindparam("priorities", type_=ARRAY(sa.Integer)),
    sa.bindparam("dues", type_=ARRAY(TIMESTAMP(timezone=True))),
)

_WAITING = f"""
SELECT Queue, '{_TASK}', Priority, 'run-' || Id, jsonb_build_object('run_id', Id), DueAt
FROM c_JobRun AS run
WHERE State = '{RunState.ENQUEUED}'
AND NOT EXISTS (
    SELECT 1 FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = 'run-' || run.Id
)
"""  # noqa: S608 - constants of this module

_RELEASE_ONE = sa.text(
    _ENTER.format(
        source=f"{_WAITING} AND JobName = :job_name ORDER BY Priority DESC, DueAt, Id LIMIT 1"
    )
)

_RELEASE_QUEUE = sa.text(_ENTER.format(source=f"{_WAITING} AND Queue = :queue ORDER BY Id"))

_SWEEP = sa.text(_ENTER.format(source=f"""
        SELECT Queue, '{_TASK}', Priority, 'run-' || Id, jsonb_build_object('run_id', Id), DueAt
        FROM (
            SELECT *, row_number() OVER (PARTITION BY JobName ORDER BY Priority DESC, DueAt, Id) AS place
            FROM c_JobRun AS run
            WHERE State IN ('{RunState.SCHEDULED}', '{RunState.ENQUEUED}', '{RunState.RETRYING}')
            AND DueAt < now() - make_interval(secs => {_LOST_ENTRY_SECONDS})
            AND NOT EXISTS (
                SELECT 1 FROM procrastinate_jobs
                WHERE status = 'todo' AND queueing_lock = 'run-' || run.Id
            )
            AND NOT EXISTS (
                SELECT 1 FROM c_JobQueue
                WHERE Name = run.Queue AND PausedAt IS NOT NULL
                AND (PausedUntil IS NULL OR PausedUntil > now())
            )
        ) AS lost
        WHERE place <= {_SWEEP_SIZE}
        ORDER BY Id
        """))  # noqa: S608 - constants of this module

_WITHDRAW = sa.text(
    "DELETE FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = ANY(:locks)"
).bindparams(sa.bindparam("locks", type_=ARRAY(sa.Text)))


class ProcrastinateEngine:
    """Offers runs by Procrastinate's workers.

    Args:
        engine: The scheduler's database, for what the engine does on its own.
        lost_after: A worker that has said nothing for so long is dead.
        heartbeat: How often a worker says that it is alive.
        poll: How often to look for entries that became due without a notification.
    """

    def __init__(
        self, engine: AsyncEngine, *, lost_after: timedelta, heartbeat: timedelta, poll: timedelta
    ) -> None:
        self._engine = engine
        self._lost_after = lost_after.total_seconds()
        self._heartbeat = heartbeat.total_seconds()
        self._poll = poll.total_seconds()
        self._app: procrastinate.App | None = None
        self._workers: set[QueueWorker] = set()
        self._draining = asyncio.Event()

    async def open(self) -> None:
        """Nothing to open: entries are written on the caller's connection."""

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Write an entry for each run, or move the one it has."""
        if runs:
            await connection.execute(
                _SUBMIT,
                {
                    "runs": [run.run_id for run in runs],
                    "queues": [run.queue for run in runs],
                    "priorities": [run.priority for run in runs],
                    "dues": [run.due_at for run in runs],
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
        """Write an entry for the next enqueued run of a job that has none, or for all of a queue.

        The lock that a claim holds while it decides about a job's limit is taken first: a claim that does not see this
        transaction's change yet would drop its entry just after we have looked for runs without one.
        """
        if job_name is not None:
            await serialise(connection, job_name)
            await connection.execute(_RELEASE_ONE, {"job_name": job_name})
        if queue is not None:
            await connection.execute(_RELEASE_QUEUE, {"queue": queue})

    def wake(self) -> None:
        """Nothing to do: PostgreSQL notifies the workers of the commit."""

    async def work(self, worker: Worker, queues: Mapping[str, int]) -> None:
        """One Procrastinate worker a queue, started again whenever the database has been away."""
        self._draining.clear()
        await asyncio.gather(
            *(self._work_queue(worker, queue, count) for queue, count in queues.items() if count)
        )

    def drain(self) -> None:
        """Fetch nothing more."""
        self._draining.set()
        for worker in self._workers:
            worker.stop()  # type: ignore[no-untyped-call]  # Procrastinate leaves it untyped

    async def rescue(self, lost: Sequence[Submission]) -> None:
        """Offer again what dead workers had fetched, and runs that are due and have no entry."""
        del lost  # their entries were written in the transaction that enqueued them
        app = self._app
        if app is not None:
            with contextlib.suppress(
                ConnectorException
            ):  # the worker's loop says that the database is away
                await self._offer_again(app)
        async with self._engine.begin() as connection:
            alone = await connection.scalar(
                sa.select(sa.func.pg_try_advisory_xact_lock(sa.func.hashtext("targcc/sweep")))
            )
            if alone:
                await connection.execute(_SWEEP)

    async def close(self) -> None:
        """Nothing to give back: each worker closes its connections itself."""

    async def _offer_again(self, app: procrastinate.App) -> None:
        manager = app.job_manager
        stalled = await manager.get_stalled_jobs(
            task_name=_TASK, seconds_since_heartbeat=self._lost_after
        )
        for entry in stalled:
            # The sweep, and the rescue of a running run, write the run's next entry; the dead worker's is only in the way.
            with contextlib.suppress(ConnectorException):  # another node was quicker
                await manager.finish_job(entry, jobs.Status.FAILED, delete_job=True)

    async def _work_queue(self, worker: Worker, queue: str, count: int) -> None:
        outage = Outage(log, f"taking runs of queue {queue}")
        while not self._draining.is_set():
            try:
                await self._run_worker(worker, queue, count, outage)
            except _OUTAGES as error:
                wait = outage.failed(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._draining.wait(), wait.total_seconds())

    async def _run_worker(self, worker: Worker, queue: str, count: int, outage: Outage) -> None:
        """Work until drained, or until the database is away."""
        app = self._make_app(worker)
        async with app.open_async():
            await app.check_connection_async()
            outage.over()
            queue_worker = QueueWorker(
                app=app,
                queues=[queue],
                name=queue,
                concurrency=count,
                fetch_job_polling_interval=self._poll,
                update_heartbeat_interval=self._heartbeat,
                stalled_worker_timeout=self._lost_after,
                abort_job_polling_interval=3600,  # runs are cancelled by our own table
                delete_jobs=jobs.DeleteJobCondition.ALWAYS,
                install_signal_handlers=False,
            )
            self._app = app
            self._workers.add(queue_worker)
            try:
                if not self._draining.is_set():
                    await queue_worker.run()  # type: ignore[no-untyped-call]  # as above
            finally:
                self._workers.discard(queue_worker)
                if self._app is app:
                    self._app = None

    def _make_app(self, worker: Worker) -> procrastinate.App:
        url = self._engine.url.set(drivername="postgresql")
        connector = procrastinate.PsycopgConnector(
            conninfo=url.render_as_string(hide_password=False),
            kwargs={"application_name": "targcc"},
            min_size=1,
            max_size=4,
        )
        app = procrastinate.App(connector=connector)

        @app.task(name=_TASK)
        async def run(run_id: int) -> None:
            claim = await self._claim(worker, run_id)
            if claim is not None:
                await worker.perform(claim)

        return app

    async def _claim(self, worker: Worker, run_id: int) -> Claim | None:
        """Claim the run; while the database is away keep trying, since giving up would drop the entry."""
        outage = Outage(log, f"claiming run {run_id}")
        while True:
            try:
                claim = await worker.claim_run(run_id)
            except _OUTAGES as error:
                if self._draining.is_set():
                    return None  # a sweep finds it
                await asyncio.sleep(outage.failed(error).total_seconds())
            else:
                outage.over()
                return claim


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
