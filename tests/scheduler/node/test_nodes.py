"""Guarantees on PostgreSQL during failures of nodes and the database: real processes, a real server."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta

import postgresql
import pytest
from cluster import Cluster
from targcc_scheduler import RunState, Scheduler


def soak(*values):
    """Return the long variant of a parameter, run with ``-m soak``."""
    return pytest.param(*values, marks=pytest.mark.soak)


@pytest.mark.parametrize("slots", [4, soak(120)])
async def test_three_nodes_that_start_at_once_on_an_empty_database_give_each_slot_one_run(
    empty_cluster: Cluster, slots: int
):
    cluster = empty_cluster
    nodes = [cluster.start("worker", "schedule", "every-second") for _ in range(3)]
    await cluster.ready()
    await cluster.until(lambda: len(cluster.noted("slot")) >= slots, "slots", seconds=30 + slots)
    await cluster.stop()
    assert [node.process.returncode for node in nodes] == [0, 0, 0]
    assert cluster.one("SELECT count(*) FROM c_AlembicVersion") == 1
    performed = Counter(datetime.fromisoformat(slot) for (slot,) in cluster.noted("slot"))
    assert set(performed.values()) == {1}
    first, last = min(performed), max(performed)
    assert len(performed) == (last - first) / timedelta(seconds=1) + 1
    assert set(cluster.states()) <= {"succeeded", "enqueued"}


async def test_a_killed_node_loses_no_run_and_repeats_no_finished_step(
    cluster: Cluster, client: Scheduler
):
    run_id = await client.enqueue("ThreeSteps")
    cluster.start()
    await cluster.until(lambda: cluster.noted("waits", run_id), "two steps are done")
    other = cluster.start()
    await cluster.ready(other)
    cluster.holder(run_id).kill()
    await cluster.until(lambda: cluster.noted("waits", run_id, 2), "another node goes on")
    cluster.open()
    assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    assert cluster.noted("step", run_id) == [["first"], ["second"], ["third"]]
    attempts = cluster.rows("SELECT Success, ErrorMessage FROM c_LoggedJob ORDER BY ID")
    assert [success for success, _ in attempts] == [False, True]
    assert "was lost" in attempts[0].errormessage


@pytest.mark.always
async def test_a_node_that_is_told_to_stop_hands_its_runs_over(cluster: Cluster, client: Scheduler):
    first = cluster.start()
    running = await client.enqueue("UntilOpened")
    await cluster.until(lambda: cluster.noted("until_opened", "begin", running), "it has begun")
    second = cluster.start()
    await cluster.ready(second)
    first.terminate()
    await cluster.until(lambda: first.process.poll() is not None, "the first node stops")
    assert first.process.returncode == 0
    cluster.open()
    assert await client.wait(running, 40) == RunState.SUCCEEDED
    assert cluster.noted("until_opened", "end", running, by=second) == [["1"]]
    assert cluster.rows("SELECT LostWorkers FROM c_JobRun") == [(0,)]


@pytest.mark.parametrize("seconds", [2, soak(20)])
async def test_the_database_may_be_away_for_a_while(
    cluster: Cluster,
    client: Scheduler,
    postgresql_server: postgresql.PostgreSQL,
    seconds: float,
):
    node, other = cluster.start("worker", "schedule", "every-second"), cluster.start()
    running = await client.enqueue("UntilOpened")
    later = await client.schedule("Noted", delay="1s", n=7)
    await cluster.until(lambda: cluster.noted("until_opened", "begin", running), "it has begun")
    await cluster.ready()
    postgresql_server.stop()
    try:
        await asyncio.sleep(seconds / 2)  # length of the outage
        cluster.open()
        await cluster.until(
            lambda: cluster.noted("until_opened", "end", running), "the job ends meanwhile"
        )
        await asyncio.sleep(seconds / 2)
    finally:
        postgresql_server.start()
    assert await _patiently(client, running) == RunState.SUCCEEDED
    assert await _patiently(client, later) == RunState.SUCCEEDED
    new = await client.enqueue("Noted", n=8)
    assert await client.wait(new, 40) == RunState.SUCCEEDED
    assert cluster.noted("until_opened", "begin", running) == [["1"]]
    slots = len(cluster.noted("slot"))
    await cluster.until(lambda: len(cluster.noted("slot")) > slots + 1, "the schedule goes on")
    assert node.process.poll() is None
    assert other.process.poll() is None
    assert "works again after" in node.said()
    assert "Traceback" not in node.said()


@pytest.mark.parametrize("seconds", [5, soak(60)])
async def test_a_healthy_run_is_never_taken_twice_even_if_it_blocks_its_loop(
    cluster: Cluster, client: Scheduler, seconds: float
):
    """Longer than every timeout of the engine: a node that is silent for three seconds counts as lost."""
    cluster.start(), cluster.start()
    await cluster.ready()
    blocking = await client.enqueue("BlocksItsLoop", seconds=seconds)
    await cluster.until(lambda: cluster.noted("blocks_its_loop", "begin"), "it has begun")
    holder = cluster.holder(blocking)
    long = await client.enqueue("UntilOpened")
    assert await client.wait(blocking, seconds + 20) == RunState.SUCCEEDED
    cluster.open()
    assert await client.wait(long, 40) == RunState.SUCCEEDED
    assert cluster.noted("blocks_its_loop", "begin") == [[str(blocking), "1"]]
    assert cluster.rows("SELECT LostWorkers FROM c_JobRun") == [(0,), (0,)]
    assert holder.process.poll() is None
    assert "declared lost" not in holder.said()


@pytest.mark.soak  # the quick variant runs on SQLite, with the same rule
async def test_a_job_that_kills_its_workers_fails_after_three_and_the_others_go_on(
    cluster: Cluster, client: Scheduler
):
    poison = await client.enqueue("Poison")
    others = [await client.enqueue("Noted", n=number) for number in range(5)]
    for _ in range(3):
        node = cluster.start()
        await cluster.until(lambda node=node: node.process.poll() is not None, "it is killed")
    cluster.start()
    assert await client.wait(poison, 40) == RunState.FAILED
    message = cluster.one("SELECT Message FROM c_JobRun WHERE Id = :id", id=poison)
    assert message == "three workers were lost while it ran"
    for run_id in others:
        assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    assert len(cluster.noted("poison")) == 3


async def _patiently(client: Scheduler, run_id: int) -> RunState:
    """Wait for a run; the client's own connections may have to reconnect first."""
    for _ in range(50):
        try:
            return await client.wait(run_id, 40)
        except TimeoutError:
            raise
        except Exception:  # noqa: BLE001 - whatever a broken connection raises
            await asyncio.sleep(0.2)
    raise AssertionError("the database did not come back")
