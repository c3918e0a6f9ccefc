"""Drain a node: it claims nothing after the request is committed, and its current runs continue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from guarantee_rig import DANA, QUICK, Ledger, MakeScheduler, schedulers
from rt_tools import until
from targcc_scheduler import RunState, Settings, job, operations
from targcc_scheduler.core.errors import UnknownServer
from targcc_scheduler.features.audit import queries as audit_queries
from targcc_scheduler.kernel.queries import system

gate = threading.Event()


@job()
async def quick() -> None:
    """A job that ends at once."""


@job()
async def held() -> None:
    """Wait for the gate."""
    await asyncio.to_thread(gate.wait)


@pytest.fixture
async def make(migrated_url: str) -> AsyncIterator[MakeScheduler]:
    """Return a function that makes schedulers with the jobs of this module."""
    gate.clear()
    async with schedulers(migrated_url, __name__) as make:
        yield make
        gate.set()
    Ledger(migrated_url).assert_sound()


@pytest.fixture
def ledger(migrated_url: str) -> Ledger:
    return Ledger(migrated_url)


@pytest.mark.slow
async def test_a_drained_node_claims_nothing_even_before_it_knows_and_loses_no_run(make, ledger):
    deaf = Settings(_env_file=None, database_url=ledger.url, **{**QUICK, "heartbeat_seconds": 2.5})
    drained, other = make(settings=deaf), make()
    await drained.start(schedule=False)
    held_id = await drained.enqueue(held)
    await until(lambda: ledger.run(held_id).State == RunState.RUNNING)
    await drained.operate(operations.drain, None, drained.node.id, DANA)
    await other.start(schedule=False)
    run_ids = [await other.enqueue(quick) for _ in range(20)]
    for run_id in run_ids:
        assert await other.wait(run_id, 5) == RunState.SUCCEEDED
    assert {ledger.run(run_id).ServerId for run_id in run_ids} == {other.node.id}
    assert ledger.run(held_id).State == RunState.RUNNING
    gate.set()
    assert await other.wait(held_id, 5) == RunState.SUCCEEDED


async def test_a_node_that_is_resumed_takes_what_waited(make, ledger):
    node = make()
    await node.start(schedule=False)
    await node.operate(operations.drain, None, node.node.id, DANA)
    await until(lambda: node.node.executor.holds)
    run_id = await node.enqueue(quick)
    [server] = await node.read(system.read_servers)
    assert (server.takes_runs, server.drain_requested_by) == (False, "Manual (dana)")
    assert ledger.run(run_id).State == RunState.ENQUEUED
    await node.operate(operations.resume_server, None, node.node.id, DANA)
    assert await node.wait(run_id, 5) == RunState.SUCCEEDED
    done = [entry.action for entry in await node.read(audit_queries.audit)]
    assert done == ["resume server", "drain"]


async def test_nobody_drains_a_node_that_is_not_there(make):
    client = make()
    await client.start(work=False, schedule=False)
    with pytest.raises(UnknownServer, match="no server 'nix' is up"):
        await client.operate(operations.drain, None, "nix", DANA)
