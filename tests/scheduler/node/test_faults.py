"""Guarantees when nodes die, freeze, hang or receive a stop signal: real processes on one SQLite file."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from rt_tools import until
from targcc_scheduler import RunState


def _lines(notes, word):
    return [line.split()[1:] for line in notes.read_text().splitlines() if line.startswith(word)]


async def test_two_nodes_give_each_slot_exactly_one_run(database, start_node, notes):
    nodes = [start_node(schedule=True), start_node(schedule=True)]
    for node in nodes:
        await node.started()
    await until(lambda: len(_lines(notes, "slot")) >= 5)
    for node in nodes:
        assert await node.terminate() == 0
    slots = Counter(slot for slot, _ in _lines(notes, "slot"))
    assert set(slots.values()) == {1}
    instants = sorted(datetime.fromisoformat(slot) for slot in slots)
    steps = {after - before for before, after in pairwise(instants)}
    assert steps == {timedelta(seconds=1)}
    assert set(database.states()) <= {"succeeded", "enqueued"}


async def test_the_run_of_a_killed_worker_is_finished_by_another_and_done_steps_are_not_repeated(
    database, start_node, notes, make_scheduler
):
    client = make_scheduler(jobs_package="fault_jobs")
    run_id = await client.enqueue("Stepped")
    first = await start_node().started()
    second = await start_node().started()
    await until(lambda: _lines(notes, "waiting"))
    holder = database.run(run_id)["ServerId"]
    victim = first if f":{first.process.pid}:" in holder else second
    victim.kill()
    notes.with_name("go").touch()
    assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    assert len(_lines(notes, "first")) == len(_lines(notes, "second")) == 1
    assert database.run(run_id)["LostWorkers"] == 1
    lost, finished = database.history(run_id)
    assert (lost["Success"], finished["Success"], finished["ResultMessage"]) == (0, 1, "ab")
    assert "was lost" in lost["ErrorMessage"]


async def test_a_node_of_another_machine_is_dead_when_its_heartbeat_stands_still(
    database, start_node, make_scheduler
):
    client = make_scheduler(jobs_package="fault_jobs")
    run_id = await client.enqueue("Long", seconds=0.1)
    taken = "State = 'running', ServerId = 'far:1:mars:1', Attempt = 1, StartedAt = CreatedAt"
    database.change(f"UPDATE c_JobRun SET {taken}")
    database.change(
        "INSERT INTO c_JobServer (Id, Name, ProcessId, Queues, Workers, Version, StartedAt, HeartbeatAt)"
        " VALUES ('far:1:mars:1', 'far', 1, 'default', 5, '0', ?, ?)",
        "2026-01-01 00:00:00.000000",
        "2099-01-01 00:00:00.000000",  # the wall clock has no effect
    )
    await start_node().started()
    assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    assert database.run(run_id)["LostWorkers"] == 1


async def test_a_run_that_kills_its_workers_is_failed_with_that_reason_and_the_others_go_on(
    database, start_node, notes, make_scheduler
):
    client = make_scheduler(jobs_package="fault_jobs")
    poison = await client.enqueue("Poison")
    quick = await client.schedule("Quick", delay="1s")
    for _ in range(3):
        node = start_node()
        await until(lambda node=node: node.process.poll() is not None)
    await start_node().started()
    await until(lambda: database.run(poison)["State"] == "failed")
    assert database.run(poison)["Message"] == "three workers were lost while it ran"
    assert len(_lines(notes, "poison")) == 3
    assert await client.wait(quick, 40) == RunState.SUCCEEDED
    assert [row["Success"] for row in database.history(poison)] == [0, 0, 0]


async def test_a_node_that_is_told_to_stop_hands_its_run_over(
    database, start_node, notes, make_scheduler
):
    client = make_scheduler(jobs_package="fault_jobs")
    nodes = [await start_node().started() for _ in range(2)]
    run_id = await client.enqueue("Long", seconds=3)
    [begun, *_] = await until(lambda: _lines(notes, "begin"))
    first, second = sorted(nodes, key=lambda node: str(node.process.pid) != begun[2])
    assert await first.terminate() == 0
    assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    assert database.life(run_id)[:5] == ["enqueued", "running", "enqueued", "running", "succeeded"]
    assert database.run(run_id)["Attempt"] == 1  # released runs do not count as attempts
    assert len(database.history(run_id)) == 1
    assert {pid for _, _, pid in _lines(notes, "end")} == {str(second.process.pid)}


async def test_a_healthy_run_longer_than_every_timeout_is_never_taken_twice(
    database, start_node, notes, make_scheduler
):
    client = make_scheduler(jobs_package="fault_jobs")
    nodes = [await start_node().started(), await start_node().started()]
    run_id = await client.enqueue("Long", seconds=4)  # a node counts as lost after one second
    assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    assert len(_lines(notes, "begin")) == 1
    assert database.run(run_id)["LostWorkers"] == 0
    assert all(node.process.poll() is None for node in nodes)


async def test_a_job_that_blocks_its_loop_stops_no_heartbeat_and_is_named_in_the_log(
    start_node, notes, make_scheduler
):
    client = make_scheduler(jobs_package="fault_jobs")
    node = await start_node().started()
    # a second node that could declare the first lost
    await start_node(work=False, schedule=True).started()
    run_id = await client.enqueue("Blocking", seconds=7)
    assert await client.wait(run_id, 30) == RunState.SUCCEEDED
    assert _lines(notes, "begin") == [[str(run_id), "1"]]
    output = node.said()
    assert f"blocked for 5 s by Blocking (run {run_id})" in output
    assert "time.sleep(seconds)" in output
    assert "turns again" in output


async def test_a_frozen_node_gives_its_runs_up_when_it_wakes(
    database, start_node, notes, make_scheduler
):
    client = make_scheduler(jobs_package="fault_jobs")
    frozen = await start_node().started()
    run_id = await client.enqueue("Long", seconds=2)
    await until(lambda: _lines(notes, "begin"))
    frozen.freeze()
    healthy = await start_node().started()
    await until(lambda: len(_lines(notes, "begin")) == 2)
    frozen.thaw()
    assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    await until(lambda: "declared lost" in frozen.said())
    assert f":{healthy.process.pid}:" in database.run(run_id)["ServerId"]
    assert [row["Success"] for row in database.history(run_id)] == [0, 1]
    await until(
        lambda: len(database.rows("SELECT * FROM c_JobServer")) == 2
    )  # returns as a new node
    again = await client.enqueue("Quick")
    assert await client.wait(again, 40) == RunState.SUCCEEDED


@pytest.mark.sqlite
async def test_a_full_disk_is_said_clearly_and_costs_no_outcome(
    database, start_node, notes, make_scheduler
):
    client = make_scheduler(jobs_package="fault_jobs")
    node = await start_node().started()
    run_id = await client.enqueue("FullDisk", seconds=1.5)
    assert await client.wait(run_id, 40) == RunState.SUCCEEDED
    assert len(database.history(run_id)) == 1
    assert database.one("PRAGMA integrity_check") == "ok"
    assert _lines(notes, "full") == [[str(run_id), "1"]]
    again = await client.enqueue("Quick")
    assert await client.wait(again, 40) == RunState.SUCCEEDED
    assert node.process.poll() is None
