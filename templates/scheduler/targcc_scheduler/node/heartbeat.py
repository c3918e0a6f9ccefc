"""The heartbeat of a node: it says that it is alive, sees which others are not, and rescues their runs."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

from ..core.outage import OUTAGES, Outage
from ..core.version import __version__
from ..engine.handover import hand_over
from ..jobs.definition import JobDefinition
from ..storage import alerts, nodes
from ..storage.runs import operate
from ..storage.runs.values import Settlement
from ..worker.executor import Executor, limits_of
from ..worker.node_services import NodeServices
from .alert_queue import AlertQueue
from .failure_detector import FailureDetector
from .identity import host_name, new_server_id

log = logging.getLogger("targcc.node.heartbeat")

_BEATS_BETWEEN_RESCUES = 5


class Heartbeat:
    """Keeps a node registered and looks after the others.

    Args:
        services: Database, engine, clock and settings.
        definitions: The jobs.
        queues: How many runs at a time from each queue; for the others to see.
        alert_queue: Hears which jobs have rules.
        settled: Hears of each run that a rescue has settled.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        queues: Mapping[str, int],
        alert_queue: AlertQueue,
        settled: Callable[[Settlement], None],
    ) -> None:
        self.name = host_name()
        self.id = new_server_id(self.name)
        self.executor: Executor | None = None
        self._services = services
        self._definitions = definitions
        self._queues = queues
        self._alert_queue = alert_queue
        self._settled = settled
        self._detector = FailureDetector(self.id, services.settings.lost_after_seconds)
        self._beats = 0
        self._outage = Outage(log, "the heartbeat")

    async def register(self) -> None:
        """Become a node that the others know.

        Raises:
            sqlalchemy.exc.DBAPIError: the database cannot be written.
        """
        now = self._services.clock.now()
        me = nodes.Server(
            id=self.id,
            name=self.name,
            process_id=os.getpid(),
            queues=", ".join(self._queues),
            workers=sum(self._queues.values()),
            version=__version__,
            started_at=now,
        )
        async with self._services.store.write() as connection:
            await nodes.register(connection, me, now)
        if self.executor is not None:
            self.executor.server_id = self.id

    async def run(self) -> None:
        """Beat until cancelled."""
        most = self._services.settings.heartbeat_seconds
        while True:
            try:
                await self.beat()
                self._outage.over()
                wait = most
            except OUTAGES as error:
                self._detector.forget()
                wait = min(self._outage.failed(error).total_seconds(), most)
            await asyncio.sleep(wait)

    async def beat(self) -> None:
        """Say that this node is alive; then, apart from that, see who is not and what is wanted of this one."""
        async with self._services.store.write_at_once() as connection:
            alive = await nodes.beat(connection, self.id, self._services.clock.now())
        if not alive:
            await self._re_register()
            return
        looked = time.monotonic()
        async with self._services.store.read() as connection:
            wanted = await operate.cancel_requests(connection, self.id)
            others = await nodes.beats(connection)
            orphans = await nodes.has_orphans(connection)
            self._alert_queue.alerted = await alerts.alerted_jobs(connection)
        if self.executor is not None:
            for run_id, by in wanted.items():
                self.executor.cancel(run_id, by)
        lost = self._detector.observe(others, looked)
        if lost or orphans:
            await self._rescue(lost)
        elif self._beats % _BEATS_BETWEEN_RESCUES == 0:
            await self._services.engine.rescue([])
        self._beats += 1

    async def mark_stopping(self) -> None:
        """Let the others see that this node takes nothing new."""
        async with self._services.store.write() as connection:
            await nodes.mark_stopping(connection, self.id, self._services.clock.now())

    async def deregister(self) -> None:
        """Remove this node; runs that it still has go to the others, and that is not their fault."""
        services = self._services
        async with services.store.write() as connection:
            await nodes.deregister(connection, self.id)
            left = await nodes.rescue(
                connection,
                services.clock.now(),
                limits=limits_of(self._definitions),
                count_as_lost=False,
            )
            await hand_over(services.engine, connection, left)

    async def _re_register(self) -> None:
        """Start afresh: another node declared this one lost, while it was frozen or cut off. Its runs belong to others now."""
        log.error(
            "this node was declared lost: its runs belong to others now, and it registers again"
        )
        if self.executor is not None:
            self.executor.lose_all()
        self.id = new_server_id(self.name)
        self._detector = FailureDetector(self.id, self._services.settings.lost_after_seconds)
        await self.register()

    async def _rescue(self, lost: Sequence[nodes.Beat]) -> None:
        services = self._services
        async with services.store.write() as connection:
            for beat in lost:
                if await nodes.remove_lost(connection, beat):
                    log.error(
                        "node %s is lost: it has said nothing since %s", beat.server_id, beat.at
                    )
            rescued = await nodes.rescue(
                connection, services.clock.now(), limits=limits_of(self._definitions)
            )
            again = await hand_over(services.engine, connection, rescued)
        for item in rescued:
            claim = item.claim
            log.error("run %d (%s) is %s: %s", claim.run_id, claim.job_name, item.state, item.note)
            self._settled(item)
        await services.engine.rescue(again)
        services.engine.wake()
