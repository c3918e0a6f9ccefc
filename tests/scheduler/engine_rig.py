"""Test rig for the engine port: a worker that does all work of the executor except the jobs themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from targcc_scheduler.core.clock import Clock, SystemClock
from targcc_scheduler.core.pools import Pool
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_server
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.engine.factory import make_queue_engine
from targcc_scheduler.kernel.engine.port import MakeOffer, Submission
from targcc_scheduler.kernel.engine.submit import submission
from targcc_scheduler.kernel.node import nodes
from targcc_scheduler.kernel.runs import claim, create, eligibility, transition, values
from targcc_scheduler.kernel.runs.claim import Entries, Taken, claim_fast
from targcc_scheduler.kernel.worker.recorder import SettlementWriter
from targcc_scheduler.settings import Settings

T = TypeVar("T")
NOW = timedelta(0)


class ShiftedClock(SystemClock):
    """Clock of a machine with the wrong time."""

    def __init__(self, shift: timedelta) -> None:
        self._shift = shift

    def now(self) -> datetime:
        """Return the shifted time."""
        return super().now() + self._shift


class Node:
    """Engine with a worker that records the runs it performs; runs end as soon as ``may_end`` is set."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        limits: Mapping[str, int],
        queue_limits: Mapping[str, int],
        poll: float,
        clock: Clock,
        aging: Mapping[str, int],
    ) -> None:
        settings = Settings(
            _env_file=None, database_url=url, poll_seconds=poll, heartbeat_seconds=0.5
        )
        self.name = name
        self.server_id = ""
        """The id of the node's row, once it has signed on."""
        self.clock = clock
        self.store = Store(url)
        self.engine = make_queue_engine(settings, clock, self.store.engine, aging)
        self.store.fence = self.engine.fence
        self.limits = dict(limits)
        self.queue_limits = dict(queue_limits)
        self.begun: list[int] = []
        self.jobs: list[str] = []
        self.queues: list[str] = []
        self.ended: list[int] = []
        self.most_at_once = 0
        self.started: dict[int, datetime] = {}
        self.fingerprint = f"knows as {name}"
        self.unknown: frozenset[str] = frozenset()
        """Jobs that the node does not know."""
        self.refused: list[int] = []
        self.seen: set[str] = set()
        """Jobs whose runs the node claims by a single statement."""
        self.at_once = 0
        """Number of runs claimed by a single statement."""
        self.holds = False
        self.may_end = asyncio.Event()
        self.may_end.set()
        self._writer = SettlementWriter(self.store, self.engine, clock, lambda: True)
        self._task: asyncio.Task[None] | None = None

    # Calls of the tests.

    async def sign_on(self) -> None:
        """Register the node, so that other nodes know it."""
        async with self.store.write() as connection:
            now = self.clock.now()
            me = nodes.Server(
                id=self.name,
                name=self.name,
                process_id=0,
                queues="default",
                workers=0,
                version="",
                started_at=now,
            )
            await nodes.register(connection, me, now)
            knows = job_server.update().where(job_server.c.Id == self.name)
            await connection.execute(knows.values(Fingerprint=self.fingerprint))
        self.server_id = self.name

    async def create(
        self,
        job: str = "Work",
        *,
        due: timedelta = NOW,
        priority: int = 0,
        queue: str = "default",
        ago: timedelta = NOW,
        now: datetime | None = None,
        connection: Any = None,
    ) -> int:
        """Create and submit a run, in the given transaction or a new one; ``ago`` and ``due`` are relative to ``now``."""
        if connection is None:
            async with self.store.write() as db:
                run_id = await self.create(
                    job, due=due, priority=priority, queue=queue, ago=ago, now=now, connection=db
                )
            self.engine.wake()
            return run_id
        now = (now or self.clock.now()) - ago
        new = self._new(job, due, now, priority=priority, queue=queue)
        [run_id] = await create.insert_many(connection, [new], now)
        await self.engine.submit(connection, [Submission(run_id, queue, priority, now + due)])
        return run_id

    def _new(
        self, job: str, due: timedelta, now: datetime, *, priority: int = 0, queue: str = "default"
    ) -> values.NewRun:
        return values.NewRun(
            job_name=job,
            job_type="Manual",
            queue=queue,
            priority=priority,
            due_at=now + due,
            triggered_by="test",
            state=RunState.SCHEDULED if due > NOW else RunState.ENQUEUED,
        )

    async def create_many(self, count: int, due: timedelta = NOW) -> list[int]:
        """Create runs of one job and submit them in one call."""
        now = self.clock.now()
        new = self._new("Work", due, now)
        async with self.store.write() as connection:
            ids = await create.insert_many(connection, [new] * count, now)
            runs = [Submission(run_id, new.queue, new.priority, new.due_at) for run_id in ids]
            await self.engine.submit(connection, runs)
        self.engine.wake()
        return ids

    def work(self, *pools: Pool, **queues: int) -> None:
        """Start claiming from queues and pools."""
        alone = queues if queues or pools else {"default": 5}
        self._task = asyncio.create_task(self.engine.work(self, alone, pools))

    async def drained(self) -> None:
        """Stop claiming, and wait until every run is settled."""
        self.engine.drain()
        if self._task is not None:
            await asyncio.wait_for(self._task, 30)

    async def state(self, run_id: int) -> RunState:
        """Return the state of a run."""
        async with self.store.read() as connection:
            return await transition.state_of(connection, run_id)

    async def close(self) -> None:
        """Close the node in any state."""
        self.may_end.set()
        await self.drained()
        await self._writer.close()
        await self.engine.close()
        await self.store.dispose()

    # Calls of the engine.

    async def claim(self, offer: MakeOffer) -> list[values.Claim]:
        async with self.store.write() as connection:
            claimed = await claim.claim(connection, await offer(connection), self.terms())
            self.refused += [item.run_id for item in claimed.misfits]
            others, again = await eligibility.refuse(connection, claimed.misfits, self.terms())
            await self.engine.refer(connection, [submission(run) for run in others])
            await self.engine.submit(connection, [submission(run) for run in again])
            self.seen.update(claim.job_name for claim in claimed.claims)
            return list(claimed.claims)

    def spread(self, seconds: float) -> float:
        return seconds

    async def claim_at_once(
        self, entries: Entries, queue: str, asked: Mapping[str, Any]
    ) -> Taken | None:
        if queue in self.queue_limits:
            return None
        plain = self.seen - self.limits.keys() - self.unknown
        if not plain:
            return None
        async with self.store.write_at_once() as connection:
            terms = self.terms()
            taken = await claim_fast(connection, entries, asked, terms, plain, keyed=False)
        self.at_once += len(taken.claims)
        if taken.rest:
            self.seen.clear()
        return taken

    def _why_not(self, job_name: str, _arguments: str | None, _run_id: int) -> str | None:
        return "not here" if job_name in self.unknown else None

    def terms(self) -> values.ClaimTerms:
        """Return the claim terms of this node."""
        return values.ClaimTerms(
            server_id=self.name,
            limits=self.limits,
            poison_here=False,
            now=self.clock.now(),
            tell=self.clock.now,
            queue_limits=self.queue_limits,
            identity=values.Identity(self.fingerprint, self.name, "1"),
            fits=self._why_not,
        )

    async def stage(self) -> None:
        async with self.store.write() as connection:
            await create.stage_due(connection, self.clock.now())

    async def due(self, queues: Collection[str], within: timedelta) -> tuple[bool, datetime | None]:
        async with self.store.read() as connection:
            now = self.clock.now()
            return await create.waiting_work(
                connection, queues, now, now + within, self.fingerprint
            )

    async def perform(self, claim: values.Claim) -> None:
        self.begun.append(claim.run_id)
        self.jobs.append(claim.job_name)
        self.queues.append(claim.queue)
        self.started[claim.run_id] = datetime.now(UTC)
        self.most_at_once = max(self.most_at_once, len(self.begun) - len(self.ended))
        await self.may_end.wait()
        await asyncio.sleep(0)
        settlement = values.Settlement(claim=claim, state=RunState.SUCCEEDED, message="done")
        await self._writer.settle(settlement)
        self.ended.append(claim.run_id)


MakeNode = Callable[..., Awaitable[Node]]


@asynccontextmanager
async def nodes_on(url: str):
    """Yield a function that makes nodes on a database; close the nodes at the end."""
    made: list[Node] = []

    async def make(
        name: str = "node",
        *,
        limits: Mapping[str, int] | None = None,
        queue_limits: Mapping[str, int] | None = None,
        poll: float = 0.3,
        shift: timedelta = NOW,
        aging: Mapping[str, int] | None = None,
    ) -> Node:
        node = Node(
            url,
            name=name,
            limits=limits or {},
            queue_limits=queue_limits or {},
            poll=poll,
            clock=ShiftedClock(shift),
            aging=aging or {},
        )
        await node.engine.open()
        await node.sign_on()
        made.append(node)
        return node

    try:
        yield make
    finally:
        for node in made:
            await node.close()


async def while_it_waits(
    node: Node, work: Awaitable[T], meanwhile: Callable[[sa.Connection], Awaitable[None]], lock: str
) -> T:
    """Start ``work`` until it waits for ``lock``, then run ``meanwhile`` in the lock's transaction; ``work`` does not see that change."""
    async with node.store.engine.connect() as holder:
        await holder.execute(sa.text(lock))
        waits = asyncio.ensure_future(work)
        async with asyncio.timeout(30):
            is_waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while not await holder.scalar(is_waiting):  # noqa: ASYNC110 - the database says it
                await asyncio.sleep(0.01)
        await meanwhile(holder)
        await holder.commit()
        return await waits


async def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
    """Poll a condition in the test's own loop until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        await asyncio.sleep(0.01)
