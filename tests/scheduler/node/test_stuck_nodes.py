"""Nodes with an unresponsive interpreter: a healthy node keeps its runs, a permanently stuck node loses them."""

import contextlib
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from guarantee_rig import Ledger, Node, schedulers, until
from targcc_scheduler import RunState, Scheduler
from targcc_scheduler.db.tables import job_server
from targcc_scheduler.kernel.queries import system

SMALL = 14 * 2**20
PROGRAM = "keepalive"


@pytest.fixture
def start_node(
    processes: None, tmp_path: Path  # noqa: ARG001 - ring 2
) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def start(url: str, **settings: object) -> Node:
        nodes.append(Node(url, tmp_path, **settings))
        return nodes[-1]

    yield start
    for node in nodes:
        if node.process.poll() is None:
            node.process.send_signal(signal.SIGCONT)
            node.end()


@pytest.fixture
async def client(migrated_url):
    async with schedulers(migrated_url, "rig_jobs.jobs") as make:
        yield make()


@pytest.fixture
def ledger(migrated_url):
    return Ledger(migrated_url)


async def _two_nodes(start_node, url, **settings) -> list[Node]:
    nodes = [start_node(url, **{"lost_after_seconds": 2, **settings}) for _ in range(2)]
    for node in nodes:
        await until(lambda node=node: node.is_ready(), "it is ready", 40)
    return nodes


def _owner(nodes, ledger, run_id) -> Node:
    (owner,) = [n for n in nodes if f":{n.process.pid}:" in (ledger.run(run_id).ServerId or "")]
    return owner


def _beside(node: psutil.Process) -> psutil.Process | None:
    """Return the keepalive process of a node."""
    with contextlib.suppress(psutil.NoSuchProcess):  # the process has just ended
        return next((child for child in node.children() if PROGRAM in child.cmdline()[-1]), None)
    return None


async def _stuck(client: Scheduler, node: Node):
    """Return the row of a node as other nodes see it."""
    servers = await client.read(system.read_servers)
    return next((server for server in servers if server.process_id == node.process.pid), None)


async def test_a_run_that_holds_the_interpreter_is_started_once_and_shown_as_stuck(
    migrated_url, client, ledger, start_node
):
    # The process beside the node needs a second to start and speak on a busy machine.
    nodes = await _two_nodes(start_node, migrated_url, lost_after_seconds=6)
    run_id = await client.enqueue("HoldsTheGil", first=9)
    await until(lambda: nodes[0].noted("holds_the_gil begin"), "it has begun")
    owner = _owner(nodes, ledger, run_id)
    while (seen := await _stuck(client, owner)) is None or seen.stuck_in is None:
        assert ledger.run(run_id).State == RunState.RUNNING
    beside = _beside(psutil.Process(owner.process.pid))
    assert seen.trouble.startswith(f"alive, stuck in HoldsTheGil (run {run_id}) since 20")
    assert "in holds_the_gil" in seen.stuck_in
    assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    assert owner.noted("holds_the_gil begin") == [f"holds_the_gil begin {run_id} 1"]
    assert [attempt.Success for attempt in ledger.attempts(run_id)] == [True]
    assert not any("declared lost" in node.said() for node in nodes)
    while (seen := await _stuck(client, owner)) is None or seen.stuck_in is not None:
        pass
    await until(lambda: "loop has not turned for" in owner.said(), "it says so")
    spoken = psutil.Process(owner.process.pid)
    await until(lambda: _beside(spoken) not in (None, beside), "a small one takes its place")
    assert _beside(spoken).memory_info().rss < SMALL
    ledger.assert_sound()


async def test_a_node_that_is_stuck_for_good_is_killed_before_its_run_goes_to_another(
    migrated_url, client, ledger, start_node
):
    # The process beside the node has to speak before it ends the node, and before the other node declares it lost.
    nodes = await _two_nodes(start_node, migrated_url, lost_after_seconds=6, stuck_after_seconds=3)
    run_id = await client.enqueue("HoldsTheGil", first=3600)
    await until(lambda: nodes[0].noted("holds_the_gil begin"), "it has begun")
    owner = _owner(nodes, ledger, run_id)
    assert await client.wait(run_id, 30) == RunState.SUCCEEDED
    assert owner.process.wait(5) == -signal.SIGKILL
    assert "has been stuck for" in owner.said()
    assert "in holds_the_gil" in owner.said()
    (other,) = [node for node in nodes if node is not owner]
    assert f"stuck in HoldsTheGil (run {run_id})" in other.said()
    assert [attempt.Success for attempt in ledger.attempts(run_id)] == [False, True]
    ledger.assert_sound()


async def test_a_node_that_is_stopped_is_not_kept_alive_by_the_process_beside_it(
    migrated_url, client, ledger, start_node
):
    nodes = await _two_nodes(start_node, migrated_url)
    run_id = await client.enqueue("UntilOpened")
    await until(lambda: nodes[0].noted("until_opened begin"), "it has begun")
    owner = _owner(nodes, ledger, run_id)
    owner.process.send_signal(signal.SIGSTOP)
    await until(lambda: owner.noted(f"until_opened begin {run_id} 2"), "another takes it", 30)
    owner.open()
    assert await client.wait(run_id, 40) == RunState.SUCCEEDED


async def test_a_node_that_is_stopped_in_a_transaction_does_not_stop_the_others(
    migrated_sqlite_url, start_node
):
    ledger = Ledger(migrated_sqlite_url)
    async with schedulers(migrated_sqlite_url, "rig_jobs.jobs") as make:
        client = make()
        nodes = await _two_nodes(start_node, migrated_sqlite_url)
        run_id = await client.enqueue("StopsInATransaction")
        await until(
            lambda: len(nodes[0].noted("stops_in_a_transaction begin")) == 2, "it goes on", 30
        )
        assert await client.wait(run_id, 40) == RunState.SUCCEEDED
        await until(
            lambda: "nobody can write to the database" in nodes[0].said() + nodes[1].said(),
            "it says why",
        )
    ledger.assert_sound()


async def test_the_process_beside_a_node_ends_with_it_and_is_replaced_when_it_ends_alone(
    migrated_sqlite_url, start_node
):
    node = start_node(migrated_sqlite_url)
    await until(node.is_ready, "it is ready", 40)
    parent = psutil.Process(node.process.pid)
    beside = await until(lambda: _beside(parent), "it has one")
    assert beside.memory_info().rss < SMALL
    # a service manager signals every process of a service; the keepalive process ignores the signal
    beside.terminate()
    beside.send_signal(signal.SIGINT)
    node.end()
    await until(lambda: not beside.is_running(), "it is gone")


@pytest.mark.sqlite
async def test_a_beat_of_a_stuck_node_does_not_wait_for_who_writes_to_the_file(
    migrated_sqlite_url, start_node
):
    """Another process writes for longer than a node may be silent; the stuck node still does not count as lost."""
    ledger = Ledger(migrated_sqlite_url)
    async with schedulers(migrated_sqlite_url, "rig_jobs.jobs") as make:
        client = make()
        nodes = await _two_nodes(start_node, migrated_sqlite_url)
        run_id = await client.enqueue("HoldsTheGil", first=6, gated=True)
        await until(lambda: nodes[0].noted("holds_the_gil begin"), "it has begun")
        file = sa.make_url(migrated_sqlite_url).database
        with contextlib.closing(sqlite3.connect(file, timeout=40, isolation_level=None)) as other:
            # before the interpreter is held: a node that is stuck within a transaction would keep the lock itself
            other.execute("BEGIN IMMEDIATE")
            nodes[0].open()
            changed = sa.select(job_server.c.StuckIn).where(job_server.c.StuckIn.is_not(None))
            with pytest.raises(TimeoutError):
                await client.wait(run_id, 4)
            assert not ledger.rows(changed)
            other.rollback()
        assert await client.wait(run_id, 40) == RunState.SUCCEEDED
        assert nodes[0].noted("holds_the_gil begin") == [f"holds_the_gil begin {run_id} 1"]
        assert not any("is lost" in node.said() for node in nodes)
