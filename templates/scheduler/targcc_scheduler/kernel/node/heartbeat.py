"""A node's heartbeat and health, and the detection of lost nodes.

Heartbeat and poll are two loops: a poll that waits for a lock or a connection delays no heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.clock import DatabaseClock, together, uptime
from ...core.numbers import CLOCK_OFF_MS
from ...core.outage import OUTAGES, Outage
from ...core.pools import Workers
from ...core.processes import is_running
from ...core.version import __version__
from .. import error_groups
from ..alert_events import node_event
from ..engine.port import Submission
from ..engine.submit import hand_over
from ..jobs.definition import JobDefinition
from ..poller import PollResult, poller_of
from ..runs.claim import running_on
from ..runs.values import Claim, ClaimKey, Settlement
from ..worker.claimer import Lease
from ..worker.executor import Executor, limits_of
from ..worker.node_services import NodeServices
from ..worker.runner import JobLoop
from . import nodes
from .keepalive import BeatFiles, Keepalive
from .nodes import Beat, host_name, machine_of, new_server_id, this_machine

# Node health: clock offset, database identity, blocked job loop; and the alerts about these.

log = logging.getLogger("targcc.node.heartbeat")

_OFF_BY = timedelta(milliseconds=CLOCK_OFF_MS)


class NodeHealth:
    """Health of this node.

    Args:
        services: Database, clock, and the receiver of alerts.
        name: Name of the node's machine.
    """

    def __init__(self, services: NodeServices, name: str) -> None:
        self.now = nodes.Condition()
        self._services = services
        self._name = name
        self._clock_is_off = False
        self._database: str | None = None
        self._shown: tuple[float, float] | None = None

    async def read_clock(self, connection: AsyncConnection) -> None:
        """Compare this machine's clock with the database's clock, and follow the database."""
        asked_at = uptime()
        self._follow(await self._services.store.dialect.read_clock(connection), asked_at)

    def hear(self, answer: nodes.Answer, sent_at: float) -> None:
        """Check the answer to a heartbeat and follow the database's clock.

        Args:
            answer: Id and clock of the database.
            sent_at: Time of the heartbeat, by :func:`...core.clock.uptime`.

        Raises:
            DatabaseReplaced: the database is another one. Reads and writes are refused until the first database is back.
        """
        self._check(answer.database)
        self._follow(answer.now, sent_at)

    def _follow(self, server_time: datetime | None, sent_at: float) -> None:
        clock, answered = self._services.clock, uptime()
        if not isinstance(clock, DatabaseClock):
            return
        if server_time is None:
            self._look_for_steps(clock)
            return
        clock.follow(server_time, sent_at, answered)
        self._judge(clock.offset)

    def _judge(self, offset: timedelta) -> None:
        self.now = replace(self.now, clock_offset_ms=round(offset.total_seconds() * 1000))
        off = abs(offset) > _OFF_BY
        if off and not self._clock_is_off:
            way = "ahead of" if offset > timedelta() else "behind"
            self._tell(
                f"the clock of {self._name} is {abs(offset).total_seconds():.1f} s {way} the database's;"
                " schedules follow the database's clock, but set this one right",
            )
        elif self._clock_is_off and not off:
            log.warning("the clock of %s agrees with the database's again", self._name)
        self._clock_is_off = off

    def _look_for_steps(self, clock: DatabaseClock) -> None:
        """Detect that this machine's clock was set, where the database has no clock of its own."""
        shown = clock.own.now().timestamp(), uptime()
        if self._shown is not None:
            step = (shown[0] - self._shown[0]) - (shown[1] - self._shown[1])
            if abs(step) > _OFF_BY.total_seconds():
                way = "forward" if step > 0 else "back"
                self._tell(f"the clock of {self._name} was set {way} by {abs(step):.1f} s")
        self._shown = shown

    def see_jobs_loop(self, stuck_in: str | None) -> None:
        """Record the job that blocks the job loop; ``None`` if the loop is responsive."""
        since = None if stuck_in is None else self.now.stuck_since or self._services.clock.now()
        self.now = replace(self.now, stuck_since=since, stuck_in=stuck_in)

    async def know_database(self, connection: AsyncConnection) -> None:
        """Remember the id of this database. Call in a transaction that writes."""
        database_id = await nodes.give_database_id(connection, self._services.clock.now())
        self._database = self._database or database_id

    async def check_database(self, connection: AsyncConnection) -> None:
        """Check that this is the database that the node started with.

        Raises:
            DatabaseReplaced: the database is another one. Reads and writes are refused until the first database is back.
        """
        self._check(await nodes.database_id(connection))

    def _check(self, problem: str | None) -> None:
        watch = self._services.store.watch
        if problem == self._database:
            watch.refuse(None)
            return
        watch.refuse(
            "the database was replaced by another while it was in use: this node works on with the first one,"
            " or restart it to work with this one"
        )
        watch.check()

    async def note_lost(self, connection: AsyncConnection, beat: nodes.Beat, runs: int) -> None:
        """Record an issue for a lost node, in the transaction that removes the node."""
        name = beat.server_id.partition(":")[0]
        detail = (
            f"process {beat.process_id} has said nothing since {beat.at.isoformat(' ', 'seconds')}"
        )
        if runs:
            detail += f"; {runs} of its runs went to others"
        await error_groups.note_issue(
            connection, name, error_groups.NODE, detail, self._services.clock.now()
        )

    def tell_lost(self, beat: nodes.Beat, claims: Sequence[Claim]) -> None:
        """Log and alert that a node was lost, with the runs that were running there."""
        runs = [f"{c.job_name} (run {c.run_id})" for c in claims if c.server_id == beat.server_id]
        had = f"; it had {', '.join(runs[:5])}" if runs else ""
        stuck = f", stuck in {beat.stuck_in.splitlines()[0]}" if beat.stuck_in else ""
        self._tell(
            f"node {beat.server_id} is lost: it has said nothing since {beat.at}{stuck}{had}",
            details=beat.stuck_in or "",
            about=beat.server_id.partition(":")[0],
        )

    def _tell(self, message: str, details: str = "", about: str = "") -> None:
        log.error(message)
        event = node_event(message, server=self._name, details=details, about=about)
        self._services.notify(event)


# A node's heartbeat, and the detection of lost nodes.

# Failure detection. A node is lost when its heartbeat has not changed for `lost_after` seconds.
#
# No wall clock is trusted. The observer measures with its own monotonic clock, so setting the clock of a machine makes no node look lost.
# While the interpreter of a node is blocked, its keepalive process sends the heartbeats. An old heartbeat therefore means that a node is gone,
# stopped or cut off, not that the node is busy. A node on this machine is lost as soon as its process has ended.


@dataclass(frozen=True)
class _Seen:
    at: datetime
    mark: object
    since: float


class FailureDetector:
    """Detects lost nodes by their heartbeats.

    Args:
        me: Id of this node, whose own row is not judged.
        lost_after: Seconds without a changed heartbeat after which a node is lost.
    """

    def __init__(self, me: str, lost_after: float) -> None:
        self._me = me
        self._lost_after = lost_after
        self._seen: dict[str, _Seen] = {}
        self._looked: float | None = None

    def observe(self, beats: Sequence[Beat], looked: float) -> list[Beat]:
        """Record the heartbeats from a poll and return the lost nodes' heartbeats.

        Args:
            beats: The last heartbeat of each node.
            looked: Monotonic time just before the heartbeats were read.
        """
        if self._looked is None or looked - self._looked > self._lost_after / 2:
            self._seen.clear()  # this process was stopped itself: its records prove nothing
        self._looked = looked
        for beat in beats:
            seen = self._seen.get(beat.server_id)
            if seen is None or (seen.at, seen.mark) != (beat.at, beat.mark):
                self._seen[beat.server_id] = _Seen(beat.at, beat.mark, looked)
        known = {beat.server_id for beat in beats}
        self._seen = {key: seen for key, seen in self._seen.items() if key in known}
        return [
            beat for beat in beats if beat.server_id != self._me and self._is_lost(beat, looked)
        ]

    def forget(self) -> None:
        """Forget all heartbeats: while the database was unavailable, no new heartbeat could be seen."""
        self._seen.clear()

    def _is_lost(self, beat: Beat, looked: float) -> bool:
        if looked - self._seen[beat.server_id].since >= self._lost_after:
            return True
        return machine_of(beat.server_id) == this_machine() and not is_running(beat.process_id)


# Heartbeat: send heartbeats, detect lost nodes, rescue their runs.


_BEATS_BETWEEN_RESCUES = 5
_BEATS_WHILE_ALIVE = 5
"""Least heartbeats in the time after which a node is lost, with any number of nodes."""


class Heartbeat:
    """Keeps the node registered, detects lost nodes, and rescues their runs.

    Args:
        services: Database, engine, clock and settings.
        definitions: The jobs.
        workers: Number of workers and their queues, shown in the node's row.
        settled: Called with each run that a rescue has settled.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        workers: Workers,
        settled: Callable[[Settlement], None],
    ) -> None:
        self.name = host_name()
        self.id = new_server_id(self.name)
        self.executor: Executor | None = None
        self.jobs: JobLoop | None = None
        settings = services.settings
        self.lease = Lease(settings.lost_after_seconds, settings.heartbeat_seconds)
        self.conditions = NodeHealth(services, self.name)
        self._services = services
        self._definitions = definitions
        self._workers = workers
        self._settled = settled
        self._files = BeatFiles(services.store.file)
        self.keepalive = Keepalive(services.store, services.settings, self._files)
        self._detector = FailureDetector(self.id, services.settings.lost_after_seconds)
        self._looks = 0
        self._spoken_for = ""
        self._ending = asyncio.Event()

    async def register(self) -> None:
        """Insert the row of this node.

        Raises:
            sqlalchemy.exc.DBAPIError: the database cannot be written.
        """
        services = self._services
        async with services.store.beat() as connection:
            await self.conditions.read_clock(connection)
        now, asked_at = services.clock.now(), uptime()
        me = nodes.Server(
            id=self.id,
            name=self.name,
            process_id=os.getpid(),
            queues=", ".join(self._workers.queues),
            workers=self._workers.count,
            version=__version__,
            started_at=now,
        )
        self._files.create(self.id)
        async with services.store.write() as connection:
            await nodes.register(connection, me, now)
            await error_groups.remove(connection, self.name, error_groups.NODE)
            await self.conditions.know_database(connection)
        self._known_since(asked_at)

    def _known_since(self, sent_at: float) -> None:
        """Renew the lease and pass the node's id to the keepalive process and the executor.

        Each heartbeat repeats this: registering may have been cut off after the row was written.
        """
        self.lease.renew(sent_at)
        if self._spoken_for != self.id:
            self._spoken_for = self.id
            self.keepalive.speak_for(self.id)
        if self.executor is not None:
            self.executor.server_id = self.id

    async def run(self) -> None:
        """Send heartbeats until :meth:`end` or a cancellation."""
        settings, outage = self._services.settings, Outage(log, "the heartbeat")
        most, longest = settings.heartbeat_seconds, settings.lost_after_seconds / _BEATS_WHILE_ALIVE
        while not self._ending.is_set():
            try:
                async with asyncio.timeout(max(settings.lost_after_seconds / 4, most)):
                    await self.beat()
                outage.over()
                wait = poller_of(self._services.store).spread(most, longest)
            except (*OUTAGES, TimeoutError) as error:
                wait = min(outage.failed(error).total_seconds(), most)
            await self._pause(together(wait))

    async def look(self) -> None:
        """Poll for lost nodes and for requests to this node, until :meth:`end` or a cancellation."""
        most, outage = self._services.settings.heartbeat_seconds, Outage(log, "looking after nodes")
        wait = 0.0
        while not self._ending.is_set():
            try:
                await self._see(await poller_of(self._services.store).next(wait))
                outage.over()
                wait = most
            except OUTAGES as error:
                self._detector.forget()
                wait = min(outage.failed(error).total_seconds(), most)

    def end(self) -> None:
        """Let both loops return after their current step; a cancellation in the middle of a step loses the connection."""
        self._ending.set()

    async def beat(self) -> None:
        """Send one heartbeat on the connection reserved for heartbeats; register again if the node's row is gone."""
        services = self._services
        self._files.beat(self.id)
        self.conditions.see_jobs_loop(self.jobs.stuck_in if self.jobs is not None else None)
        async with services.store.beat() as connection:
            asked_at = uptime()
            now = services.clock.now()
            answer = await nodes.beat(connection, self.id, now, self.conditions.now)
            if answer is None:
                await self.conditions.check_database(connection)
            else:
                self.conditions.hear(answer, asked_at)
                self._known_since(asked_at)
        if answer is None:
            await self._re_register()

    async def _see(self, seen: PollResult) -> None:
        """Act on a poll result: cancel runs, rescue the runs of lost nodes."""
        me, executor = self.id, self.executor
        if executor is not None:
            await self._tend(executor, me, is_any=seen.running)
        lost = self._detector.observe([self._marked(beat) for beat in seen.beats], seen.at)
        if lost or seen.orphans:
            await self._rescue(lost)
        elif seen.waiting and self._looks % _BEATS_BETWEEN_RESCUES == 0:
            await self._services.engine.rescue([])
        self._looks += 1

    async def _tend(self, executor: Executor, me: str, *, is_any: bool) -> None:
        """Cancel runs as requested, and give back orphans: runs of this node that no task here executes.

        Args:
            executor: The node's executor.
            me: The node's id.
            is_any: Whether any run is running on any node; ``False`` saves the query.
        """
        running: Mapping[ClaimKey, str | None] = {}
        if is_any:
            executor.strays.look()
            async with self._services.store.read() as connection:
                running = await running_on(connection, me)
        for (run_id, _, _), by in running.items():
            if by is not None:
                executor.cancel(run_id, by)
        if strays := executor.strays.among(running):
            for item in await executor.strays.give_back(me, strays):
                if item.is_final:
                    self._settled(item)

    async def mark_stopping(self) -> None:
        """Record that this node claims no more runs."""
        async with self._services.store.write() as connection:
            await nodes.mark_stopping(connection, self.id, self._services.clock.now())

    async def deregister(self) -> None:
        """Remove this node's row and enqueue its remaining runs again, without counting a lost worker for the runs."""
        services = self._services

        async def leave(connection: AsyncConnection) -> None:
            await nodes.deregister(connection, self.id)
            now = services.clock.now()
            left = await nodes.rescue(
                connection,
                now,
                limits=limits_of(self._definitions),
                count_as_lost=False,
            )
            await hand_over(services.engine, connection, left, now)

        await services.store.change(leave)
        self._files.remove(self.id)

    async def _re_register(self) -> None:
        """Register with a new id: another node declared this node lost while the process was frozen or cut off.

        The node's former runs belong to other nodes now.
        """
        log.error(
            "this node was declared lost: its runs belong to others now, and it registers again"
        )
        if self.executor is not None:
            self.executor.lose_all()
        self._files.remove(self.id)
        self.id = new_server_id(self.name)
        self._detector = FailureDetector(self.id, self._services.settings.lost_after_seconds)
        await self.register()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    def _marked(self, beat: nodes.Beat) -> nodes.Beat:
        """Add the mark from the node's heartbeat file, where the database is a SQLite file."""
        return replace(beat, mark=self._files.mark(beat.server_id))

    async def _rescue(self, lost: Sequence[nodes.Beat]) -> None:
        """Rescue the runs of lost nodes, the node with the oldest heartbeat first.

        Each node has a transaction of its own: finished rescues stay when this node dies, too. Without lost nodes, rescue orphaned runs.
        """
        again: list[Submission] = []
        in_order = sorted(lost, key=lambda beat: beat.at)
        for beat in in_order or (None,):
            again += await self._rescue_runs_of(beat)
        await self._services.engine.rescue(again)
        self._services.engine.wake()

    async def _rescue_runs_of(self, lost: nodes.Beat | None) -> list[Submission]:
        """Rescue the runs of a lost node, or with ``None`` the runs whose node has no row any more.

        Returns:
            The runs to submit to the engine; none if the node is back, or another node rescues its runs.
        """
        services = self._services

        async def work(
            connection: AsyncConnection,
        ) -> tuple[list[Settlement], list[Submission]] | None:
            if lost is not None and not (
                self._marked(lost) == lost and await nodes.remove_lost(connection, lost)
            ):
                return None
            now = services.clock.now()
            rescued = await nodes.rescue(connection, now, limits=limits_of(self._definitions))
            if lost is not None:
                await self.conditions.note_lost(connection, lost, len(rescued))
            return rescued, await hand_over(services.engine, connection, rescued, now)

        done = await services.store.change(work)
        if done is None:  # the node is back, or another node rescues its runs
            return []
        rescued, again = done
        if lost is not None:
            self._files.remove(lost.server_id)
            self.conditions.tell_lost(lost, [item.claim for item in rescued])
        for item in rescued:
            claim = item.claim
            log.error("run %d (%s) is %s: %s", claim.run_id, claim.job_name, item.state, item.note)
            self._settled(item)
        return again
