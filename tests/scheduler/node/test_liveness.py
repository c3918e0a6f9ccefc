"""Detection of dead nodes does not depend on any wall clock."""

import os
from datetime import UTC, datetime, timedelta

from targcc_scheduler.kernel.node.heartbeat import FailureDetector
from targcc_scheduler.kernel.node.nodes import Beat, machine_of, new_server_id

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
NO_SUCH_PROCESS = 2**22 + 1  # above the highest process id of Linux


def _beat(at, server_id="far:1:mars:a", process_id=1):
    return Beat(server_id, process_id, at)


def test_a_node_is_dead_when_its_heartbeat_stands_still_for_long_enough():
    liveness = FailureDetector("me", lost_after=20)
    for seconds in range(0, 20, 2):
        assert liveness.observe([_beat(NOON)], float(seconds)) == []
    assert liveness.observe([_beat(NOON)], 20.0) == [_beat(NOON)]


def test_a_clock_that_jumps_an_hour_kills_nobody():
    liveness = FailureDetector("me", lost_after=20)
    for seconds in range(0, 100, 2):
        jump = timedelta(hours=-1 if seconds > 50 else 0)
        beat = _beat(NOON + timedelta(seconds=seconds) + jump)
        assert liveness.observe([beat], float(seconds)) == []


def test_a_node_that_was_frozen_itself_proves_nothing_by_what_it_remembers():
    liveness = FailureDetector("me", lost_after=20)
    liveness.observe([_beat(NOON)], 0.0)
    assert liveness.observe([_beat(NOON)], 3600.0) == []
    assert liveness.observe([_beat(NOON)], 3602.0) == []


def test_a_database_that_was_away_proves_nothing_either():
    liveness = FailureDetector("me", lost_after=20)
    for seconds in range(0, 18, 2):
        liveness.observe([_beat(NOON)], float(seconds))
    liveness.forget()
    assert liveness.observe([_beat(NOON)], 21.0) == []


def test_a_node_does_not_judge_itself():
    liveness = FailureDetector("far:1:mars:a", lost_after=1)
    for tenth in range(30):
        assert liveness.observe([_beat(NOON)], tenth / 10) == []


def test_a_process_of_this_machine_that_has_ended_is_dead_at_once():
    gone, here = new_server_id("host"), new_server_id("host")
    beats = [_beat(NOON, gone, NO_SUCH_PROCESS), _beat(NOON, here, os.getpid())]
    assert FailureDetector("me", lost_after=20).observe(beats, 0.0) == [beats[0]]


def test_ids_are_never_the_same_and_fit_their_column():
    ids = {new_server_id("h" * 200) for _ in range(100)}
    assert len(ids) == 100
    assert max(map(len, ids)) <= 100
    assert len({machine_of(server_id) for server_id in ids}) == 1
