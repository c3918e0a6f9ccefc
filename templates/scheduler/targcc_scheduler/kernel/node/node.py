"""A node: one process that schedules recurring jobs, runs jobs, or does both, and monitors the other nodes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from ...core.errors import SchemaError
from ...core.loop_thread import LoopThread
from ...core.outage import OUTAGES, Outage, in_short
from ...core.pools import Workers
from ...schedules.intervals import AfterRunSchedule
from ..alert_events import AlertEvents, Notify
from ..blobs import ContentKeeper
from ..feature import Background, JobChanger, Loop, parts
from ..jobs.definition import JobDefinition
from ..poller import poller_of
from ..runs.values import Settlement
from ..worker.executor import Executor, watch
from ..worker.node_services import NodeServices
from ..worker.processes import ProcessPool
from ..worker.recorder import RecordWriter
from ..worker.runner import JobLoop
from .heartbeat import Heartbeat
from .loops import NodeContext
from .maintenance import Maintenance
from .pruner import count_history, upkeep
from .recurring import RecurringScheduler
from .releases import Aliases, ReleaseWatch

log = logging.getLogger("targcc.node.node")

_AFTER_FAULT_SECONDS = 2.0
_END_THEMSELVES_SECONDS = 1.0
"""Seconds that tasks get to return by themselves, so that no database connection is cut off in the middle."""
_DAY = 24 * 3600.0
_CANCELLED_AGAIN_SECONDS = 0.2
_LAST_SECONDS = 1.0
"""Seconds that the last database calls get when the shutdown time is used up."""
_SETTLE_SECONDS = 10.0
"""Seconds after the grace in which outcomes may reach the database; the process then ends without the rest."""


class Node:
    """One process among those that share the database. Use a node on the scheduler's loop only.

    Args:
        services: Database, engine, clock, settings, and the receiver of alert events.
        definitions: The jobs; the mapping may grow while the node works.
        alert_events: Passes the events of ``services.notify`` to the features.
        notify: The application's receiver of alert events; ``None`` sends alerts.
        loop: The event loop that the node runs on.
        jobs: The loop that jobs run on; ``None`` for a node that claims no runs.
        processes: Pool of worker processes for jobs with ``isolation="process"``.
        workers: Number of workers, and the queues that they serve.
        queue_limits: Most runs at once for some queues, over all nodes together.
        schedule: Whether the node creates the runs of recurring jobs.
        own: Return the jobs declared in the code; the node's release is computed from these jobs.
        look_again: Find jobs whose files were added while the process runs.
        changers: Change the jobs by rows of the database.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        *,
        alert_events: AlertEvents,
        notify: Notify | None = None,
        loop: LoopThread,
        jobs: JobLoop | None,
        processes: ProcessPool,
        workers: Workers,
        queue_limits: Mapping[str, int],
        schedule: bool,
        own: Callable[[], Iterable[JobDefinition]],
        look_again: Callable[[], None],
        changers: Sequence[JobChanger] = (),
    ) -> None:
        self._services = services
        self._definitions = definitions
        self._jobs = jobs
        self._processes = processes
        self._workers = workers if jobs is not None else Workers()
        self._heartbeat = Heartbeat(services, definitions, self._workers, self._settled)
        self._tasks: list[asyncio.Task[None]] = []
        self._ends_itself: list[asyncio.Task[None]] = []
        self._work: asyncio.Task[None] | None = None
        self.releases = ReleaseWatch(
            services,
            definitions,
            own=own,
            name=self._heartbeat.name,
            server_id=lambda: self.id,
            queues=self._workers.queues,
            look_again=look_again,
            settled=self._settled,
        )
        self.aliases = Aliases(services, definitions, lambda: self.releases.release)
        self.slots: RecurringScheduler | None = None
        if schedule:
            self.slots = RecurringScheduler(
                services, definitions, lambda: self.releases.release, changers
            )
            self.releases.decided = self.aliases.taken = self.slots.wake
        self._context = NodeContext(
            services,
            definitions,
            schedules=schedule,
            release=lambda: self.releases.release,
            alert_events=alert_events,
            notify=notify,
        )
        self.maintenance = Maintenance(self._context)
        self.loops: dict[str, tuple[Background, int]] = {}
        """The loops of the features by name, each with its number of tasks."""
        for feature, part in parts(Loop):
            if (made := feature.load(part)(self._context)) is not None:
                self.loops[part.name] = made, part.tasks
        self.executor: Executor | None = None
        if jobs is not None:
            self._heartbeat.jobs = jobs
            self.executor = self._heartbeat.executor = self.releases.executor = Executor(
                services,
                definitions,
                lease=self._heartbeat.lease,
                jobs=jobs,
                processes=processes,
                records=RecordWriter(
                    services.store, services.clock, loop, ContentKeeper(services.settings)
                ),
                server_name=self._heartbeat.name,
                queue_limits=queue_limits,
                refused=self.releases.refused,
                settled=self._settled,
            )

    @property
    def id(self) -> str:
        """The current id; a node that was declared lost registers again with a new id."""
        return self._heartbeat.id

    async def start(self) -> None:
        """Register the node and start its background tasks.

        Raises:
            sqlalchemy.exc.DBAPIError: the database cannot be written.
            SchemaError: the database takes the names of two jobs for the same.
        """
        await self._require_names()
        await self._heartbeat.register()
        await self.releases.start()
        await self.aliases.start()
        for prepare in self._context.at_start:
            await prepare()
        self._begin(self._heartbeat.run, "heartbeat", ends_itself=True)
        self._begin(self.releases.run, "releases")
        self._begin(self._heartbeat.look, "look", ends_itself=True)
        self._begin(self._prune_daily, "pruner")
        if any(job.aliases for job in self._definitions.values()):
            self._begin(self.aliases.run, "aliases")
        self._begin(self.maintenance.index.run, "texts", ends_itself=True)
        self._begin(self.maintenance.sweep.run, "ties", ends_itself=True)
        for name, (loop, tasks) in self.loops.items():
            for number in range(tasks):
                title = f"{name} {number}" if tasks > 1 else name
                self._begin(loop.run, title, ends_itself=True)
        if self.slots is not None:
            self._begin(self.slots.run, "slots")
            self._begin(self.slots.follow_owners, "owners")
        jobs, executor = self._jobs, self.executor
        if jobs is not None and executor is not None:
            engine = self._services.engine
            if self._services.settings.keepalive:
                self._begin(self._heartbeat.keepalive.run, "keepalive")
            await asyncio.to_thread(jobs.start)
            if any(item.isolation == "process" for item in self._definitions.values()):
                self._processes.warm_up()
            self._begin(lambda: watch(jobs), "watchdog")
            workers = self._workers
            self._work = self._begin(
                lambda: engine.work(executor, workers.alone, workers.pools), "work"
            )

    async def _require_names(self) -> None:
        store = self._services.store
        async with store.read() as connection:
            same = await store.dialect.same_names(connection, self._definitions)
        if same:
            raise SchemaError(
                f"the database takes the names of these jobs for the same ({'; '.join(same)}), as its collation ignores case:"
                " rename all but one of them"
            )

    def hold(self) -> None:
        """Claim no more runs; call before :meth:`stop`."""
        self._services.engine.drain()
        if self.executor is not None:
            self.executor.expect_stop()

    def hurry(self) -> None:
        """Release running jobs without the grace when the node stops."""
        if self.executor is not None:
            self.executor.hurry()

    async def stop(self, reason: str = "the process is shutting down") -> None:
        """Claim no more runs, tell running jobs, wait for the grace, release the remaining runs, deregister."""
        if self.slots is not None:
            self._cancel("slots")
        self._services.engine.drain()
        clock = asyncio.get_running_loop().time
        until = clock() + _SETTLE_SECONDS
        if self._work is not None and self.executor is not None:
            until += self._services.settings.shutdown_grace
            self.executor.shut_down(reason)
            # Run concurrently: a database that cannot be written must not use up the time for the outcomes.
            marking = asyncio.create_task(self._quietly(self._heartbeat.mark_stopping()))
            await asyncio.wait((self._work,), timeout=until - clock())
            await self._quietly(asyncio.wait_for(self.executor.close(), timeout=1))
            await asyncio.wait((marking,), timeout=_LAST_SECONDS)
            marking.cancel()
        await self.send_rest()
        await self.abandon(max(until - clock(), _LAST_SECONDS))

    async def send_rest(self) -> None:
        """Let the features send what waits in this process, such as alerts."""
        for work in self._context.at_stop:
            await work()

    async def abandon(self, seconds: float | None = None) -> None:
        """End all tasks and deregister: the node stops, or could not start.

        Args:
            seconds: Most seconds for deregistering. Default: 10.
        """
        await self._end_loops()
        await end_tasks(self._tasks)
        await self._quietly(self._heartbeat.deregister(), seconds)
        if self._jobs is not None:
            await asyncio.to_thread(self._jobs.stop)
        await asyncio.to_thread(self._processes.stop)

    async def _end_loops(self) -> None:
        self._heartbeat.end()
        self._context.ending.set()
        for loop, _ in self.loops.values():
            loop.end()
        poller_of(self._services.store).hurry()
        if self._ends_itself:
            await asyncio.wait(self._ends_itself, timeout=_END_THEMSELVES_SECONDS)

    def _settled(self, settlement: Settlement) -> None:
        """Pass on a settled run, settled by this node's worker or by a rescue."""
        for listener in self._context.settled:
            listener(settlement)
        definition = self._definitions.get(settlement.claim.job_name)
        is_after_run = definition is not None and isinstance(definition.schedule, AfterRunSchedule)
        if self.slots is not None and is_after_run:
            self.slots.completed(settlement.claim.job_name)

    def _begin(
        self,
        make: Callable[[], Coroutine[Any, Any, None]],
        name: str,
        *,
        ends_itself: bool = False,
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(_keep_going(make, name), name=f"targcc {name}")
        self._tasks.append(task)
        if ends_itself:
            self._ends_itself.append(task)
        return task

    def _cancel(self, name: str) -> None:
        for task in self._tasks:
            if task.get_name() == f"targcc {name}":
                task.cancel()

    async def _prune_daily(self) -> None:
        await self._count_history()  # count history before removing rows
        outage = Outage(log, "removing old runs")
        wait = random.uniform(60, 600)  # noqa: S311 - spreads the nodes, keeps no secret
        settings = self._services.settings
        while True:
            await asyncio.sleep(wait)
            try:
                await upkeep(self._services.store, settings, self._services.clock.now())
                outage.over()
                wait = _DAY
            except OUTAGES as error:
                wait = max(outage.failed(error).total_seconds(), 60)

    async def _count_history(self) -> None:
        outage = Outage(log, "counting the history of earlier releases")
        while True:
            try:
                await count_history(self._services.store)
            except OUTAGES as error:
                await asyncio.sleep(outage.failed(error).total_seconds())
            else:
                outage.over()
                return

    async def _quietly(self, work: Awaitable[Any], seconds: float | None = None) -> None:
        """Await with a time limit and log a database error: an unavailable database must not keep the process from ending."""
        try:
            await asyncio.wait_for(work, timeout=seconds or _SETTLE_SECONDS)
        except (*OUTAGES, TimeoutError) as error:
            log.warning("while stopping: %s", in_short(error))


async def end_tasks(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks, and cancel again until all have ended.

    A wait that ends when the task is cancelled may swallow the cancellation, as ``asyncio.wait_for`` does in Python 3.11.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCELLED_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_going(make: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Run a background task until the task returns.

    Log any other exception as a fault of the scheduler and start the task again: a node must not go on without the task.
    """
    while True:
        try:
            await make()
        except Exception:
            log.exception("the scheduler's %s failed, which is a fault; it begins again", name)
            await asyncio.sleep(_AFTER_FAULT_SECONDS)
        else:
            return
