"""Long fault storms; run with ``-m soak``."""

import random
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from rt_tools import Database, until
from targcc_scheduler import RunState

pytestmark = pytest.mark.soak


def _lines(notes, word):
    return [line.split()[1:] for line in notes.read_text().splitlines() if line.startswith(word)]


async def test_three_nodes_at_once_on_an_empty_database_for_two_minutes(
    tmp_path, start_node, notes
):
    database = Database(tmp_path / "jobs.db")  # nothing there yet
    nodes = [start_node(schedule=True, TARGCC_MIGRATE_ON_START=True) for _ in range(3)]
    for node in nodes:
        await node.started()
    await until(lambda: len(_lines(notes, "slot")) >= 120, 150)
    for node in nodes:
        assert await node.terminate() == 0
    slots = Counter(slot for slot, _ in _lines(notes, "slot"))
    assert set(slots.values()) == {1}
    steps = {
        after - before for before, after in pairwise(sorted(map(datetime.fromisoformat, slots)))
    }
    assert steps == {timedelta(seconds=1)}
    assert len({pid for _, pid in _lines(notes, "slot")}) == 3
    assert database.states().keys() <= {"succeeded", "enqueued"}


async def test_fifty_kills_at_random_lose_no_run_and_repeat_no_finished_step(
    database, start_node, notes, make_scheduler
):
    chance = random.Random(7)
    client = make_scheduler(jobs_package="fault_jobs")
    ids = [await client.enqueue("TwoSteps", mark=mark) for mark in range(400)]
    nodes = [await start_node().started() for _ in range(2)]
    for _ in range(50):
        done = len(_lines(notes, "second"))
        await until(lambda done=done: len(_lines(notes, "second")) > done, 60)
        place = chance.randrange(2)
        nodes[place].kill()
        nodes[place] = start_node()
    states = [await client.wait(run_id, 120) for run_id in ids]
    assert set(states) == {RunState.SUCCEEDED}
    kept = database.rows("SELECT RunId, Name FROM c_JobStep")
    assert len(kept) == 800
    for step in ("first", "second"):  # a step whose worker died within it is done again, no other
        times = Counter(mark for (mark,) in _lines(notes, step))
        assert len(times) == 400
        assert sum(times.values()) - 400 <= 50
