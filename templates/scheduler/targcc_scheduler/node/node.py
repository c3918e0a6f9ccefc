"""A node: one process that creates the runs of recurring jobs, works, or both, and looks after the others."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any

from ..core.loop_thread import LoopThread
from ..core.outage import OUTAGES, Outage, in_short
from ..jobs.definition import JobDefinition
from ..storage.runs.values import Settlement
from ..worker.executor import Executor
from ..worker.node_services import NodeServices
from ..worker.recorder import RecordWriter
from ..worker.runner import JobLoop
from ..worker.watchdog import watch
from .alert_queue import AT_ONCE, AlertQueue
from .heartbeat import Heartbeat
from .pruner import prune
from .recurring import RecurringScheduler

log = logging.getLogger("targcc.node.node")

_AFTER_FAULT_SECONDS = 2.0
_DAY = 24 * 3600.0
_SETTLE_SECONDS = 10.0
"""After the grace: how long outcomes may take to reach the database before the process ends without them."""


class Node:
    """One process among those that share the database. For use on the scheduler's loop.

    Args:
        services: Database, engine, clock, settings, and who hears of missed slots.
        definitions: The jobs; may grow while it works.
        alert_queue: Gets what people may want to know.
        loop: The loop it lives on.
        jobs: Where jobs run; ``None`` for a node that takes no runs.
        queues: How many runs at a time from each queue.
        schedule: Whether it creates the runs of recurring jobs.
        look_again: Finds jobs whose files were added while the process runs.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        *,
        alert_queue: AlertQueue,
        loop: LoopThread,
        jobs: JobLoop | None,
        queues: Mapping[str, int],
        schedule: bool,
        look_again: Callable[[], None],
    ) -> None:
        self._services = services
        self._alert_queue = alert_queue
        self._jobs = jobs
        self._queues = dict(queues) if jobs is not None else {}
        self._heartbeat = Heartbeat(services, definitions, self._queues, alert_queue, self._settled)
        self._tasks: list[asyncio.Task[None]] = []
        self._work: asyncio.Task[None] | None = None
        self.slots = RecurringScheduler(services, definitions) if schedule else None
        self.executor: Executor | None = None
        if jobs is not None:
            self.executor = self._heartbeat.executor = Executor(
                services,
                definitions,
                jobs=jobs,
                records=RecordWriter(services.store, services.clock, loop),
                server_name=self._heartbeat.name,
                look_again=look_again,
                settled=self._settled,
            )

    @property
    def id(self) -> str:
        """Its id now; a node that was declared lost gets another."""
        return self._heartbeat.id

    async def start(self) -> None:
        """Register, and begin.

        Raises:
            sqlalchemy.exc.DBAPIError: the database cannot be written.
        """
        await self._heartbeat.register()
        self._begin(self._heartbeat.run, "heartbeat")
        for number in range(AT_ONCE):
            self._begin(self._alert_queue.run, f"alerts {number}")
        self._begin(self._prune_daily, "pruner")
        if self.slots is not None:
            self._begin(self.slots.run, "slots")
        jobs, executor = self._jobs, self.executor
        if jobs is not None and executor is not None:
            engine = self._services.engine
            await asyncio.to_thread(jobs.start)
            self._begin(lambda: watch(jobs), "watchdog")
            self._work = self._begin(lambda: engine.work(executor, self._queues), "work")

    async def stop(self, reason: str = "the process is shutting down") -> None:
        """Take nothing new, tell running jobs, wait the grace, release the rest, deregister."""
        if self.slots is not None:
            self._cancel("slots")
        self._services.engine.drain()
        if self._work is not None and self.executor is not None:
            self.executor.shut_down(reason)
            await self._quietly(self._heartbeat.mark_stopping())
            longest = self._services.settings.shutdown_grace + _SETTLE_SECONDS
            await asyncio.wait((self._work,), timeout=longest)
            await self._quietly(asyncio.wait_for(self.executor.close(), timeout=1))
        await self._alert_queue.send_rest()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._quietly(self._heartbeat.deregister())
        if self._jobs is not None:
            await asyncio.to_thread(self._jobs.stop)

    def _settled(self, settlement: Settlement) -> None:
        """A run was settled, by this node's worker or by a rescue."""
        self._alert_queue.settled(settlement)
        if self.slots is not None:
            self.slots.completed(settlement.claim.job_name)

    def _begin(
        self, make: Callable[[], Coroutine[Any, Any, None]], name: str
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(_keep_going(make, name), name=f"targcc {name}")
        self._tasks.append(task)
        return task

    def _cancel(self, name: str) -> None:
        for task in self._tasks:
            if task.get_name() == f"targcc {name}":
                task.cancel()

    async def _prune_daily(self) -> None:
        outage = Outage(log, "removing old runs")
        wait = random.uniform(60, 600)  # noqa: S311 - spreads the nodes, keeps no secret
        settings = self._services.settings
        while True:
            await asyncio.sleep(wait)
            try:
                await prune(
                    self._services.store,
                    before=self._services.clock.now() - timedelta(days=settings.history_days),
                    keep_last=settings.history_keep,
                )
                outage.over()
                wait = _DAY
            except OUTAGES as error:
                wait = max(outage.failed(error).total_seconds(), 60)

    async def _quietly(self, work: Awaitable[Any]) -> None:
        """The process ends, whatever the database says."""
        try:
            await asyncio.wait_for(work, timeout=_SETTLE_SECONDS)
        except (*OUTAGES, TimeoutError) as error:
            log.warning("while stopping: %s", in_short(error))


async def _keep_going(make: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Do it until it returns; a fault of the scheduler is logged, and it is begun again: the node must not go on without it."""
    while True:
        try:
            await make()
        except Exception:
            log.exception("the scheduler's %s failed, which is a fault; it begins again", name)
            await asyncio.sleep(_AFTER_FAULT_SECONDS)
        else:
            return
