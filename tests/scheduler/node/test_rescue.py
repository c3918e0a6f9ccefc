"""Runs of a lost node: their place in the queue and their notifications, on SQLite and PostgreSQL."""

import asyncio
import threading
import time
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from guarantee_rig import Ledger, schedulers, until
from targcc_scheduler import JobContext, JobType, RunState, job
from targcc_scheduler.core.errors import NodeStuck
from targcc_scheduler.db.tables import job_run, job_server
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import poller
from targcc_scheduler.kernel.node import nodes
from targcc_scheduler.kernel.queries import system

GONE = "far:1:mars:gone"
BEHIND = 500

gate = threading.Event()
begun: list[int] = []


@pytest.fixture(autouse=True)
def _closed():
    gate.clear()
    begun.clear()
    yield
    gate.set()


@job(JobType.MANUAL)
async def piece(ctx: JobContext) -> None:
    """Job with many runs."""
    begun.append(ctx.run_id)
    while not gate.is_set():  # noqa: ASYNC110 - it is a threading event
        await asyncio.sleep(0.01)


@job(JobType.MANUAL)
async def blocks(ctx: JobContext) -> None:
    """Block the event loop, as an async job must not."""
    begun.append(ctx.run_id)
    gate.wait(30)


@pytest.fixture
def told():
    return []


@pytest.fixture
async def scheduler(migrated_url, told):
    async def notify(event) -> None:
        told.append(event)

    async with schedulers(migrated_url, __name__) as make:
        yield make(notify=notify)


@pytest.fixture
def ledger(migrated_url):
    return Ledger(migrated_url)


def _add_node(ledger: Ledger, node: str) -> None:
    now = datetime.now(UTC)
    row = {"Id": node, "Name": "far", "ProcessId": 1, "Queues": "default", "Workers": 1}
    ledger.change(sa.insert(job_server).values(**row, Version="0", StartedAt=now, HeartbeatAt=now))


def _take(ledger: Ledger, run_id: int, node: str = GONE) -> None:
    """Give the run to another node that stays silent."""
    _add_node(ledger, node)
    now = datetime.now(UTC)
    running = {"State": "running", "ServerId": node, "Attempt": 1, "StartedAt": now}
    ledger.change(sa.update(job_run).where(job_run.c.Id == run_id).values(**running))
    if ledger.engine.dialect.name == "postgresql":
        ledger.change(sa.text("DELETE FROM procrastinate_jobs"))


@pytest.mark.slow
async def test_the_run_of_a_lost_node_is_the_next_that_starts_whatever_waits(
    scheduler, ledger, told
):
    lost = await scheduler.enqueue(piece)
    _take(ledger, lost)
    await scheduler.enqueue_many(piece, [{}] * BEHIND)
    await scheduler.start(schedule=False)
    await until(lambda: len(begun) == 5, "the workers are busy")
    await until(lambda: ledger.run(lost).State == RunState.ENQUEUED, "it waits again")
    assert lost not in begun
    gate.set()
    await until(lambda: len(begun) > 5, "the next starts")
    assert begun[5] == lost
    (event,) = [event for event in told if event.kind == "node"]
    assert f"node {GONE} is lost" in event.message
    assert f"it had Piece (run {lost})" in event.message


@pytest.mark.slow
async def test_a_node_whose_jobs_loop_does_not_turn_takes_no_run_and_is_shown_so(
    scheduler, ledger, monkeypatch
):
    monkeypatch.setattr(
        "targcc_scheduler.kernel.worker.executor.watch.__kwdefaults__",
        {"blocked_seconds": 0.3},
    )
    await scheduler.start(schedule=False)
    blocking = await scheduler.enqueue(blocks)

    async def shown() -> str:
        (server,) = await scheduler.read(system.read_servers)
        return server.trouble

    await until(lambda: begun, "it blocks the loop")
    deadline = time.monotonic() + 30
    while "stuck" not in await shown():
        assert time.monotonic() < deadline
    assert f"alive, stuck in Blocks (run {blocking}) since" in await shown()
    waiting = await scheduler.enqueue(piece)
    with pytest.raises(NodeStuck):
        await scheduler.call(scheduler.node.executor.claim(None))
    assert ledger.run(waiting).State == RunState.ENQUEUED
    gate.set()
    assert await scheduler.wait(waiting, 40) == RunState.SUCCEEDED
    while await shown():
        assert time.monotonic() < deadline


async def test_a_node_that_cannot_start_tells_people(scheduler, told, monkeypatch):
    def broken() -> None:
        raise RuntimeError("no such service: postgresql://dana:secret@host/db")

    monkeypatch.setattr(scheduler._host, "_services", broken)
    with pytest.raises(RuntimeError, match="no such service"):
        await scheduler.start(schedule=False)
    (event,) = told
    assert event.kind == "node"
    assert event.message.startswith("a node did not start: RuntimeError: no such service")
    assert "secret" not in event.message


async def test_of_many_lost_nodes_those_are_done_with_that_a_node_came_to_before_it_went_too(
    scheduler, ledger, monkeypatch
):
    """Lost nodes are finished in the order of their loss.

    With nodes that live for a moment only, as in a crash loop, no node would finish all of them.
    """
    ids = [await scheduler.enqueue("Piece") for _ in range(5)]
    for number, run_id in enumerate(ids):
        _take(ledger, run_id, f"far:1:mars:{number}")
    went, removed, remove_lost = threading.Event(), [], nodes.remove_lost

    async def two(connection, beat):
        if len(removed) == 2:
            went.set()
            raise sa.exc.OperationalError("", {}, Exception("it went"))
        removed.append(beat.server_id)
        return await remove_lost(connection, beat)

    monkeypatch.setattr(nodes, "remove_lost", two)
    await scheduler.start(schedule=False)
    await until(went.is_set, "it went")
    await until(lambda: len(begun) == 2, "those that are rescued begin")
    left = [ledger.run(run_id).ServerId for run_id in ids if run_id not in begun]
    assert [*removed, *left] == [f"far:1:mars:{number}" for number in range(5)]


async def test_a_lost_node_that_another_one_removes_is_left_to_it(migrated_postgresql_url):
    """No transaction waits: several nodes rescue the runs of several lost nodes in parallel."""
    ledger, store = Ledger(migrated_postgresql_url), Store(migrated_postgresql_url)
    for number in (1, 2):
        _add_node(ledger, f"far:1:mars:{number}")
    async with store.read() as connection:
        first, second = (await poller.see(connection)).beats
    async with store.write() as db, store.write() as other:
        assert await nodes.remove_lost(db, first)
        assert not await asyncio.wait_for(nodes.remove_lost(other, first), 30)
        assert await nodes.remove_lost(other, second)
    await store.dispose()
