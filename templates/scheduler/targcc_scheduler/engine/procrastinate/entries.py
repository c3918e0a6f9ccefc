"""What of Procrastinate's jobs the engine takes and returns."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import procrastinate
import psycopg
import sqlalchemy as sa
from procrastinate import jobs
from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager, NotificationCallback
from procrastinate.types import JSONDict
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.clock import Clock
from ...core.errors import NodeUnknown
from ...core.outage import OUTAGES, Outage
from ...storage.runs.values import Claim, Offer, OfferedRun
from ..port import Worker

log = logging.getLogger("targcc.engine.procrastinate.entries")
TASK = "targcc.run"
QUEUE_OUTAGES = (*OUTAGES, ConnectorException, psycopg.Error)
"""What is raised while the database is unavailable, by SQLAlchemy or by Procrastinate."""

NOT_PAUSED = """NOT EXISTS (
    SELECT 1 FROM c_JobQueue
    WHERE Name = {queue} AND PausedAt IS NOT NULL AND (PausedUntil IS NULL OR PausedUntil > now())
)"""

_BEHIND, _SHORTEST_LOOK = timedelta(seconds=1), timedelta(seconds=0.02)
_TAKE = sa.text(f"""
    DELETE FROM procrastinate_jobs
    WHERE id = ANY (ARRAY(
        SELECT id FROM procrastinate_jobs
        WHERE status = 'todo' AND queue_name = :queue AND task_name = '{TASK}'
        AND (scheduled_at IS NULL OR scheduled_at <= now())
        AND {NOT_PAUSED.format(queue=":queue")}
        ORDER BY priority DESC, id
        LIMIT :count
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING priority, id, (args ->> 'run_id')::bigint AS run_id, args ->> 'job' AS job_name
    """).bindparams(sa.bindparam("queue", type_=sa.Text))  # noqa: S608 - constants of this module


class Entries(JobManager):
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

        @app.task(name=TASK)
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
                if due is not None and due - self._clock.now() < -_BEHIND:
                    await self._worker.stage()  # something holds it up: say that its time has come
            except QUEUE_OUTAGES:  # the claims say so
                waiting, due = False, None
            if waiting:
                for line in self._lines.values():
                    await line.tell()
            await pause(self._look, self._until(due))

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
            with contextlib.suppress(*QUEUE_OUTAGES):  # the heartbeat says so
                await super().listen_for_jobs(on_notification=told, queues=[queue])
            await asyncio.sleep(self._poll.total_seconds())

    async def update_heartbeat(self, worker_id: int) -> None:
        """Procrastinate's own; nodes have another (see ``node.py``), so it does not matter when it fails."""
        with contextlib.suppress(*QUEUE_OUTAGES):
            await super().update_heartbeat(worker_id)

    async def _claim(self, queue: str, line: _Line) -> bool:
        """Take as many entries as there are free slots and claim their runs, which begin; whether there were entries."""
        free = line.slots - len(line.running)
        if free <= 0 or self._draining.is_set():
            return False
        offers: list[OfferedRun] = []

        async def offer(connection: AsyncConnection) -> Offer:
            rows = (await connection.execute(_TAKE, {"queue": queue, "count": free})).all()
            rows = sorted(rows, key=lambda row: (-row.priority, row.id))
            offers.extend(OfferedRun(row.run_id, row.job_name) for row in rows)
            return Offer(runs=offers)

        try:
            claims = await self._worker.claim(offer)
        except QUEUE_OUTAGES as error:
            await pause(self._draining, self._outage.failed(error))
            return False
        except NodeUnknown:  # the next heartbeat finds out, and registers again
            await pause(self._draining, self._poll)
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
                task_name=TASK,
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


async def pause(event: asyncio.Event, longest: timedelta) -> None:
    """Wait for an event, but not too long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), longest.total_seconds())
