"""Many processes that change the same few rows at once: jobs, random operations, and the process that runs them.

A random pause precedes each statement of a transaction, so that transactions interleave in many ways within a short time.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import random
import sys
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import await_only
from targcc_scheduler import JobContext, Project, Scheduler, Settings, configure, job
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.core.errors import (
    BatchError,
    BulkError,
    IdempotencyError,
    RunStateError,
    UnknownBatch,
    UnknownBulk,
    UnknownFailure,
    UnknownFlow,
    UnknownRun,
)
from targcc_scheduler.core.search_language import only
from targcc_scheduler.db.tables import job_batch, job_failure, job_run
from targcc_scheduler.features.triage import bulk_actions, inbox
from targcc_scheduler.kernel import limit_renames, releases
from targcc_scheduler.kernel.node import maintenance
from targcc_scheduler.kernel.node.pruner import upkeep
from targcc_scheduler.kernel.queries.run_search import RunFilter

REFUSED = (
    BatchError,
    BulkError,
    IdempotencyError,
    RunStateError,
    UnknownBatch,
    UnknownBulk,
    UnknownFailure,
    UnknownFlow,
    UnknownRun,
)
"""Errors that a call may raise when another process was faster."""
DANA = Actor(ActorKind.MANUAL, "dana")
FEW = 4
_PAUSE_SECONDS = 0.004
_LONGEST_CALL_SECONDS = 60
PROJECT = Project(
    name="crowd",
    package="crowd",
    queues={"default": 6, "narrow": 2},
    queue_limits={"narrow": 2},
    retries=1,
    backoff="0s",
    flows={
        "Day": {
            "steps": {
                "first": {"job": "Plain", "arguments": {"number": 1}},
                "second": {"job": "Plain", "after": ["first"], "arguments": {"number": 2}},
                "third": {"job": "Plain", "after": ["first"], "arguments": {"number": 3}},
            }
        }
    },
)


def _perhaps_fail(number: int) -> None:
    if number % 5 == 0:
        raise ValueError(f"number {number % 3}")


@job()
class PlainJob:
    async def execute(self, _ctx: JobContext, number: int = 0) -> None:
        await asyncio.sleep(0.01)
        _perhaps_fail(number)


@job(unique="key", on_duplicate="replace")
class KeyedJob:
    async def execute(self, key: int, number: int = 0) -> None:
        await asyncio.sleep(0.01)
        _perhaps_fail(number + key)


@job(limit={"key": "tenant", "running": 2}, expires_in="20s")
class RoomJob:
    async def execute(self, tenant: int, number: int = 0) -> None:
        await asyncio.sleep(0.01)
        _perhaps_fail(number + tenant)


@job(limit={"key": "tenant", "running": 1}, unique=("tenant", "number"))
class OtherRoomJob:
    async def execute(self, tenant: int, number: int = 0) -> None:
        await asyncio.sleep(0.01)
        _perhaps_fail(number + tenant)


@job(concurrency=2, queue="narrow")
class NarrowJob:
    async def execute(self, number: int = 0) -> None:
        await asyncio.sleep(0.01)
        _perhaps_fail(number)


@job(after=[NarrowJob, PlainJob])
class FollowingJob:
    async def execute(self) -> None:
        await asyncio.sleep(0.01)


class Crowd:
    """Do random operations on runs and batches that other callers change at the same time.

    Args:
        scheduler: The scheduler.
        dice: Source of randomness.
    """

    def __init__(self, scheduler: Scheduler, dice: random.Random) -> None:
        self.scheduler = scheduler
        self.dice = dice
        self.did: Counter[str] = Counter()

    async def act(self) -> None:
        """Do one random operation; ignore missing runs and batches, and wrong states."""
        acts = [(name, getattr(self, name)) for name in dir(Crowd) if name.startswith("do_")]
        name, act = self.dice.choice(acts)
        with contextlib.suppress(*REFUSED):
            await asyncio.wait_for(act(), _LONGEST_CALL_SECONDS)
        self.did[name] += 1

    async def runs(self, *where: Any, most: int = 12) -> list[int]:
        """Return some of the newest runs in random order."""
        c = job_run.c
        query = sa.select(c.Id).where(*where).order_by(c.Id.desc()).limit(most)
        run_ids = await self.scheduler.read(lambda db: _all(db, query))
        return self.dice.sample(run_ids, len(run_ids))

    async def a_run(self, *where: Any) -> int:
        return ([*(await self.runs(*where)), 0])[0]

    async def batches(self, kind: str) -> list[int]:
        c = job_batch.c
        query = sa.select(c.Id).where(c.Kind == kind).order_by(c.Id.desc()).limit(6)
        batch_ids = await self.scheduler.read(lambda db: _all(db, query))
        return self.dice.sample(batch_ids, len(batch_ids))

    async def a_batch(self, kind: str = "batch") -> int:
        return ([*(await self.batches(kind)), 0])[0]

    def many(self, name: str, count: int = 4) -> list[dict[str, int]]:
        return [
            {name: self.dice.randrange(FEW), "number": self.dice.randrange(8)} for _ in range(count)
        ]

    async def do_enqueue(self) -> None:
        many = [{"number": self.dice.randrange(10)} for _ in range(3)]
        await self.scheduler.enqueue_many(PlainJob, many)

    async def do_enqueue_keyed(self) -> None:
        await self.scheduler.enqueue_many(KeyedJob, self.many("key"))

    async def do_enqueue_named(self) -> None:
        name = f"call {self.dice.randrange(FEW)}"
        await self.scheduler.enqueue(PlainJob, idempotency_key=name, number=1)

    async def do_enqueue_limited(self) -> None:
        await self.scheduler.enqueue_many(RoomJob, self.many("tenant"))
        await self.scheduler.enqueue_many(OtherRoomJob, self.many("tenant"))

    async def do_trigger_narrow(self) -> None:
        number = self.dice.randrange(10)
        await self.scheduler.trigger("Narrow", {"number": number}, by=DANA)

    async def do_schedule(self) -> None:
        seconds = self.dice.randrange(3)
        await self.scheduler.schedule(PlainJob, delay=timedelta(seconds=seconds), number=1)

    async def do_enqueue_after(self) -> None:
        parents = await self.runs()
        if parents:
            await self.scheduler.enqueue_many(
                RoomJob, self.many("tenant", 2), after=parents[:3], on=self._on()
            )

    async def do_enqueue_after_batches(self) -> None:
        parents = await self.batches("batch")
        if parents:
            async with self.scheduler.batch("after", after=None) as batch:
                batch.enqueue(PlainJob, number=1)
            await self.scheduler.enqueue(
                PlainJob, after=[*map(_Batch, parents[:3])], on=self._on(), number=2
            )

    def _on(self) -> Any:
        return self.dice.choice(["success", "failure", "finish"])

    async def do_batch(self) -> None:
        async with self.scheduler.batch("outer", on_finish=PlainJob) as outer:
            outer.enqueue_many(PlainJob, [{"number": self.dice.randrange(10)} for _ in range(2)])
            async with outer.batch("inner", on_success=PlainJob) as inner:
                inner.enqueue_many(KeyedJob, self.many("key", 2))
            async with outer.batch("other") as other:
                other.enqueue_many(RoomJob, self.many("tenant", 2))

    async def do_add_to_batch(self) -> None:
        await self.scheduler.batches.add(await self.a_batch(), KeyedJob, self.many("key", 2))

    async def do_batch_in_batch(self) -> None:
        parents = await self.runs()
        async with self.scheduler.batch(
            "within", parent=await self.a_batch(), after=parents[:2] or None
        ) as batch:
            batch.enqueue_many(KeyedJob, self.many("key", 2))

    async def do_cancel_batch(self) -> None:
        await self.scheduler.batches.cancel(await self.a_batch(), by=DANA)

    async def do_retry_batch(self) -> None:
        await self.scheduler.batches.retry_failed(await self.a_batch(), by=DANA)

    async def do_flow(self) -> None:
        await self.scheduler.start_flow("Day", by=DANA)

    async def do_cancel_flow(self) -> None:
        await self.scheduler.cancel_flow(await self.a_batch("flow"), by=DANA)

    async def do_rerun_flow(self) -> None:
        await self.scheduler.rerun_flow(await self.a_batch("flow"), by=DANA)

    async def do_cancel(self) -> None:
        await self.scheduler.cancel(await self.a_run(job_run.c.CompletedAt.is_(None)), by=DANA)

    async def do_retry(self) -> None:
        await self.scheduler.retry(await self.a_run(), by=DANA)

    async def do_delete(self) -> None:
        await self.scheduler.delete(await self.a_run(), by=DANA)

    async def do_bulk(self) -> None:
        action = self.dice.choice(["retry", "run-now", "cancel", "delete", "queue", "priority"])
        more = {
            "queue": {"queue": self.dice.choice(["default", "narrow"])},
            "priority": {"priority": self.dice.randrange(3)},
        }.get(action, {})
        wanted = RunFilter(search=only(run=sorted(await self.runs())))
        if not wanted.search.terms:
            return
        wish = bulk_actions.Wish(action=action, wanted=wanted, **more)
        bulk_id = await self.scheduler.operate(bulk_actions.begin, None, wish, DANA)
        await bulk_actions.work_off(self.scheduler, bulk_id)
        if self.dice.random() < 0.3:
            back = await self.scheduler.operate(bulk_actions.undo, None, bulk_id, DANA)
            await bulk_actions.work_off(self.scheduler, back)

    async def do_inbox(self) -> None:
        causes = await self.scheduler.read(lambda db: _all(db, sa.select(job_failure.c.Cause)))
        if causes:
            act = self.dice.choice([inbox.acknowledge, inbox.discard, inbox.reopen])
            await self.scheduler.operate(act, None, self.dice.choice(causes), DANA)

    async def do_pause(self) -> None:
        await self.scheduler.pause_queue("narrow", by=DANA)
        await self.scheduler.resume_queue("narrow", by=DANA)

    async def do_rename(self) -> None:
        """Rename a limit as a node does; the node tries again when a row with the new name was inserted meanwhile."""
        change, now = self.scheduler.change, self.scheduler.clock.now()
        new, old = self.dice.choice([("Room", "OtherRoom"), ("OtherRoom", "Room")])
        with contextlib.suppress(sa.exc.IntegrityError):
            await change(lambda db: limit_renames.lead_on(db, new, old, now))
            await change(lambda db: limit_renames.carry(db, new, old))
            await change(lambda db: releases.take_over(db, new, old, "1"))
            await change(lambda db: releases.take_history(db, new, old, 20))

    async def do_upkeep(self) -> None:
        scheduler = self.scheduler
        later = scheduler.clock.now() - timedelta(seconds=10) + timedelta(days=30)
        settings = scheduler.settings.model_copy(update={"history_days": 30, "history_keep": 0})
        await scheduler.call(upkeep(scheduler.store, settings, later))

    async def do_sweep(self) -> None:
        node = self.scheduler.node
        if node is not None:
            await self.scheduler.call(node.maintenance.sweep_once())


@dataclasses.dataclass(frozen=True)
class _Batch:
    batch_id: int


async def _all(db: Any, query: Any) -> list[Any]:
    return list(await db.scalars(query))


def slow_down(scheduler: Scheduler, dice: random.Random) -> None:
    """Pause before each statement of a transaction."""

    def pause(connection: Any, *_: Any) -> None:
        # Ask the connection's options, not the database: a query in a failed transaction would fail instead of the savepoint's rollback.
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            await_only(asyncio.sleep(dice.random() * _PAUSE_SECONDS))

    sa.event.listen(scheduler.store.engine.sync_engine, "before_cursor_execute", pause)


def make_scheduler(url: str) -> Scheduler:
    settings = Settings(
        _env_file=None,
        database_url=url,
        migrate_on_start=False,
        keepalive=False,
        pool_size=5,
        poll_seconds=0.3,
        heartbeat_seconds=2,
    )
    return Scheduler(settings, jobs_package=__name__, notify=_ignore)


async def _ignore(_event: object) -> None:
    """Send no alerts."""


class Undone(logging.Handler):
    """Log handler that collects messages about deadlocked transactions, and errors."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.again: list[str] = []
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.name}: {record.getMessage()}"
        if "the database undid it" in text:
            self.again.append(text)
        elif "will be tried again" in text or "deadlock" in f"{text} {record.exc_info}":
            self.errors.append(text)


async def crowd(url: str, seed: int, seconds: float) -> dict[str, Any]:
    """Run two schedulers with several random callers each; return the operations done and the errors."""
    schedulers = [make_scheduler(url) for _ in range(2)]
    for place, scheduler in enumerate(schedulers):
        await scheduler.start(schedule=False)
        slow_down(scheduler, random.Random(seed + place))
    end, failed, did = time.monotonic() + seconds, [], Counter[str]()

    async def call(scheduler: Scheduler, dice: random.Random) -> None:
        member = Crowd(scheduler, dice)
        while time.monotonic() < end:
            try:
                await member.act()
            except Exception as error:  # noqa: BLE001 - it is what the test asks for
                failed.append(repr(error))
        did.update(member.did)

    dice = [random.Random(1_000 * seed + place) for place in range(6)]
    await asyncio.gather(
        *(call(schedulers[place % 2], member) for place, member in enumerate(dice))
    )
    for scheduler in schedulers:
        await scheduler.stop()
    return {"did": did, "failed": failed}


def main(url: str, seed: str, seconds: str) -> None:
    """Run the crowd in this process and write the result as JSON."""
    configure(PROJECT)
    undone = Undone()
    logging.getLogger("targcc").addHandler(undone)
    logging.getLogger("targcc").setLevel(logging.INFO)
    maintenance._TIE_SECONDS = 0.5
    result = asyncio.run(crowd(url, int(seed), float(seconds)))
    sys.stdout.write(json.dumps({**result, "again": undone.again, "errors": undone.errors}))
