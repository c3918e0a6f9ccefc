"""Long fault storms; run with ``-m soak``."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from rt_tools import Database, until

pytestmark = pytest.mark.soak


def _lines(notes, word):
    return [line.split()[1:] for line in notes.read_text().splitlines() if line.startswith(word)]


async def test_three_nodes_at_once_on_an_empty_database_for_two_minutes(
    tmp_path, start_node, notes
):
    database = Database(tmp_path / "jobs.db")  # the file is empty so far
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
