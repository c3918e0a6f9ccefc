"""A node: one process that creates the runs of recurring jobs, works, or both, and looks after the others."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any

from ..alerts.events import AlertEvent
from ..core.clock import Clock
from ..core.loop_thread import LoopThread
from ..core.outage import OUTAGES, Outage, in_short
from ..core.states import RunState
from ..core.version import __version__
from ..engine.port import Engine, Submission
from ..jobs.definition import JobDefinition
from ..settings import Settings
from ..storage import alerts, nodes
from ..storage.runs import operate, stage
from ..storage.transactions import Store
from ..worker.executor import Executor
from ..worker.recorder import RecordWriter
from ..worker.runner import JobLoop
from ..worker.watchdog import watch
from .failure_detector import FailureDetector
from .identity import host_name, new_server_id
from .pruner import prune
from .recurring import RecurringScheduler

log = logging.getLogger("targcc.node.node")

_BEATS_BETWEEN_RESCUES = 5
_AFTER_FAULT_SECONDS = 2.0
_DAY = 24 * 3600.0
_SETTLE_SECONDS = 10.0
"""After the grace: how long outcomes may take to reach the database before the process ends without them."""
_ALERT_SECONDS = 10.0
_ALERTS_AT_ONCE = 4
"""So that a mail server which does not answer holds up no other alert."""

Notify = Callable[[AlertEvent], Awaitable[None]]


class Node:
    """One process among those that share the database. For use on the home loop.

    Args:
        store: The database.
        engine: Offers runs.
        definitions: The jobs; may grow while it works.
        settings: Intervals and graces.
        clock: Tells the time.
        home: The loop it lives on.
        jobs: Where jobs run; ``None`` for a node that takes no runs.
        queues: How many runs at a time from each queue.
        schedule: Whether it creates the runs of recurring jobs.
        look_again: Finds jobs whose files were added while the process runs.
        notify: Hears of results and missed slots.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        definitions: Mapping[str, JobDefinition],
        settings: Settings,
        clock: Clock,
        *,
        home: LoopThread,
        jobs: JobLoop | None,
        queues: Mapping[str, int],
        schedule: bool,
        look_again: Callable[[], None],
        notify: Notify | None,
    ) -> None:
        self.name = host_name()
        self.id = new_server_id(self.name)
        self.outage = Outage(log, "the heartbeat")
        self._store = store
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._jobs = jobs
        self._queues = dict(queues) if jobs is not None else {}
        self._liveness = FailureDetector(self.id, settings.lost_after_seconds)
        self._beats = 0
        self._alerted: frozenset[str] = frozenset()
        self._send = notify
        self._events: asyncio.Queue[AlertEvent] = asyncio.Queue(maxsize=10_000)
        self._tasks: list[asyncio.Task[None]] = []
        self._work: asyncio.Task[None] | None = None
        self.slots = (
            RecurringScheduler(store, engine, definitions, clock, self._notify)
            if schedule
            else None
        )
        self.executor = (
            Executor(
                store,
                engine,
                definitions,
                clock,
                settings,
                jobs=jobs,
                journals=RecordWriter(store, clock, home),
                server_name=self.name,
                look_again=look_again,
                notify=self._notify,
                completed=self._completed,
            )
            if jobs is not None
            else None
        )

    async def start(self) -> None:
        """Register, and begin.

        Raises:
            sqlalchemy.exc.DBAPIError: the database cannot be written.
        """
        await self._register()
        self._begin(self._heartbeats, "heartbeat")
        for number in range(_ALERTS_AT_ONCE):
            self._begin(self._alerts, f"alerts {number}")
        self._begin(self._upkeep, "upkeep")
        if self.slots is not None:
            self._begin(self.slots.run, "slots")
        jobs, executor = self._jobs, self.executor
        if jobs is not None and executor is not None:
            await asyncio.to_thread(jobs.start)
            self._begin(lambda: watch(jobs), "watchdog")
            self._work = self._begin(lambda: self._engine.work(executor, self._queues), "work")

    async def stop(self, reason: str = "the process is shutting down") -> None:
        """Take nothing new, tell running jobs, wait the grace, hand the rest back, sign off."""
        if self.slots is not None:
            self._cancel("slots")
        self._engine.drain()
        if self._work is not None and self.executor is not None:
            self.executor.shut_down(reason)
            await self._quietly(self._mark_stopping())
            longest = self._settings.shutdown_grace + _SETTLE_SECONDS
            await asyncio.wait((self._work,), timeout=longest)
            await self._quietly(asyncio.wait_for(self.executor.close(), timeout=1))
        await self._send_rest()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._quietly(self._sign_off())
        if self._jobs is not None:
            await asyncio.to_thread(self._jobs.stop)

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

    # Being alive, and seeing who is not.

    async def _register(self) -> None:
        now = self._clock.now()
        me = nodes.Server(
            id=self.id,
            name=self.name,
            process_id=os.getpid(),
            queues=", ".join(self._queues),
            workers=sum(self._queues.values()),
            version=__version__,
            started_at=now,
        )
        async with self._store.write() as connection:
            await nodes.register(connection, me, now)
        if self.executor is not None:
            self.executor.server_id = self.id

    async def _heartbeats(self) -> None:
        while True:
            try:
                await self._beat()
                self.outage.over()
                wait = self._settings.heartbeat_seconds
            except OUTAGES as error:
                self._liveness.forget()
                wait = min(
                    self.outage.failed(error).total_seconds(), self._settings.heartbeat_seconds
                )
            await asyncio.sleep(wait)

    async def _beat(self) -> None:
        now, looked = self._clock.now(), time.monotonic()
        async with self._store.write() as connection:
            alive = await nodes.beat(connection, self.id, now)
            wanted = await operate.cancel_requests(connection, self.id)
            others = await nodes.beats(connection)
            orphans = await nodes.has_orphans(connection)
            due = await stage.stage_due(connection, now)
            self._alerted = await alerts.alerted_jobs(connection)
        if due:
            self._engine.wake()
        if not alive:
            await self._come_back()
            return
        if self.executor is not None:
            for run_id, by in wanted.items():
                self.executor.cancel(run_id, by)
        dead = self._liveness.observe(others, looked)
        if dead or orphans:
            await self._rescue(dead)
        elif self._beats % _BEATS_BETWEEN_RESCUES == 0:
            await self._engine.rescue([])
        self._beats += 1

    async def _come_back(self) -> None:
        """The others took this node for dead, while it was frozen or cut off. Its runs are theirs now."""
        log.error("this node was taken for dead: its runs are given up, and it starts afresh")
        if self.executor is not None:
            self.executor.abandon_all()
        self.id = new_server_id(self.name)
        self._liveness = FailureDetector(self.id, self._settings.lost_after_seconds)
        await self._register()

    async def _rescue(self, dead: Sequence[nodes.Beat]) -> None:
        now = self._clock.now()
        async with self._store.write() as connection:
            for beat in dead:
                if await nodes.remove_lost(connection, beat):
                    log.error(
                        "node %s is lost: it has said nothing since %s", beat.server_id, beat.at
                    )
            rescued = await nodes.rescue(connection, now)
            back = [
                Submission(item.run_id, item.queue, item.priority, now)
                for item in rescued
                if item.state == RunState.ENQUEUED
            ]
            if back:
                await self._engine.submit(connection, back)
        for item in rescued:
            log.error("run %d (%s) is %s: %s", item.run_id, item.job_name, item.state, item.message)
        await self._engine.rescue(back)
        self._engine.wake()

    # Telling people.

    def _notify(self, event: AlertEvent) -> None:
        if self._send is None or not self._may_interest(event):
            return
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            name = event.definition.name
            log.warning("too many alerts wait: one about %s is dropped", name)

    def _may_interest(self, event: AlertEvent) -> bool:
        """Most runs succeed and nobody asked to hear of it; the sender need not look that up each time."""
        job = event.definition
        return event.kind != "success" or job.alerts is not None or job.name in self._alerted

    def _completed(self, job_name: str) -> None:
        if self.slots is not None:
            self.slots.completed(job_name)

    async def _alerts(self) -> None:
        while True:
            await self._send_one(await self._events.get())

    async def _send_one(self, event: AlertEvent) -> None:
        if self._send is None:
            return
        try:
            await self._send(event)
        except Exception:
            log.exception("an alert about %s could not be sent", event.definition.name)

    async def _send_rest(self) -> None:
        async def rest() -> None:
            while not self._events.empty():
                await self._send_one(self._events.get_nowait())

        await self._quietly(asyncio.wait_for(rest(), timeout=_ALERT_SECONDS))

    # Once a day.

    async def _upkeep(self) -> None:
        outage = Outage(log, "removing old runs")
        wait = random.uniform(60, 600)  # noqa: S311 - spreads the nodes, keeps no secret
        while True:
            await asyncio.sleep(wait)
            try:
                await prune(
                    self._store,
                    before=self._clock.now() - timedelta(days=self._settings.history_days),
                    keep_last=self._settings.history_keep,
                )
                outage.over()
                wait = _DAY
            except OUTAGES as error:
                wait = max(outage.failed(error).total_seconds(), 60)

    # Ending.

    async def _mark_stopping(self) -> None:
        async with self._store.write() as connection:
            await nodes.mark_stopping(connection, self.id, self._clock.now())

    async def _sign_off(self) -> None:
        async with self._store.write() as connection:
            await nodes.deregister(connection, self.id)
            back = await nodes.rescue(connection, self._clock.now(), count_as_lost=False)
            await self._engine.submit(
                connection,
                [
                    Submission(item.run_id, item.queue, item.priority, self._clock.now())
                    for item in back
                    if item.state == RunState.ENQUEUED
                ],
            )

    async def _quietly(self, work: Awaitable[Any]) -> None:
        """The process ends, whatever the database says."""
        try:
            await asyncio.wait_for(work, timeout=_SETTLE_SECONDS)
        except (*OUTAGES, TimeoutError) as error:
            log.warning("while stopping: %s", in_short(error))


async def _keep_going(make: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Do it until it returns; a fault of the scheduler is logged, and it is begun again: the node must not go half dead."""
    while True:
        try:
            await make()
        except Exception:
            log.exception("the scheduler's %s failed, which is a fault; it begins again", name)
            await asyncio.sleep(_AFTER_FAULT_SECONDS)
        else:
            return
